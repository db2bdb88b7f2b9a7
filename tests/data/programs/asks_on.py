"""Asks a model some times, in this process and then in others; goes on where a call is refused."""

import os
import subprocess
import sys

import openai

url, times, *others = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key="demo")


def ask():
    try:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "How?"}])
    except openai.OpenAIError as error:
        return type(error).__name__
    return "answered"


for _ in range(int(times)):
    print(ask(), flush=True)
for way in others:
    if way == "fork":
        child = os.fork()
        if not child:
            print(ask(), flush=True)
            client.close()
            sys.exit(0)
        os.waitpid(child, 0)
    if way == "exec":
        os.execv(sys.executable, [sys.executable, __file__, url, "2"])
    if way == "process":
        subprocess.run([sys.executable, __file__, url, "2"], check=True)
client.close()
