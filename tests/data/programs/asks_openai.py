"""Asks a model through the openai package, which it finds at its first argument; knows nothing of any meter."""

import os
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="demo")


def ask(question):
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": question}])
    print(question, bool(answer.choices[0].message.content), flush=True)


ask("first")
for way in sys.argv[2:]:
    if way == "raise":
        raise ValueError(way)
    if way == "wait":
        os.write(1, b"ready\n")
        sys.stdin.read()
    if way == "fork":
        child = os.fork()
        if not child:
            ask("child")
            client.close()
            sys.exit(0)
        print("status", os.waitpid(child, 0)[1])
client.close()
