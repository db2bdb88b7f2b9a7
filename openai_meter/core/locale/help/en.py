"""The texts of ``--help`` in English.

The key of a command is its name, that of its option ``COMMAND.OPTION``, of an option of several commands
``option.OPTION``. The first sentence of a command is its line in the list of commands.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["HELP"]

HELP: Mapping[str, str] = {
    # The page itself.
    "usage": "Usage: ",
    "error": "Error: {message}",
    "try_help": "Try '{command}' for help.",
    "command_and_args": "COMMAND [ARGS]...",
    "error.no_such_option": "No such option: {name}.",
    "error.no_such_command": "No such command {name}.",
    "error.missing_argument": "Missing argument {name}.",
    "error.missing_option": "Missing option {name}.",
    "error.missing_command": "Missing command.",
    "error.extra": "Got unexpected extra arguments: {name}.",
    "error.needs_value": "Option {name} requires a value.",
    "error.takes_no_value": "Option {name} does not take a value.",
    "error.invalid": "Invalid value for {name}.",
    "error.invalid_value": "A value cannot be used.",
    "error.not_a_number": "Pass a number.",
    "error.not_in_range": "Pass a number in the range {limit}.",
    "error.too_large": "Pass {limit} or less.",
    "error.too_small": "Pass {limit} or more.",
    "error.order": "{name} is not an order of rows; use one of {names}",
    "error.excel": "it is for CSV; add --csv",
    "error.forecast": "there is no forecast of {name}; use day, week or month",
    "error.export": "{name} cannot be written; use {names}",
    "error.near": "Did you mean {names}?",
    "options": "Options:",
    "arguments": "Arguments:",
    "commands": "Commands:",
    "examples": "Examples:",
    "show_help": "Show this page and exit.",
    "install_completion": "Install the completion of the tab key for this shell.",
    "show_completion": "Show the script of that completion.",
    "required": "[required]",
    "default": "default:",
    "app": "Count and price the OpenAI calls of a Python program, without a change to the program.",
    "version": "Show the version and exit.",
    # Options of several commands.
    "option.ledger": "The URL of the ledger. By default the value of OPENAI_METER_LEDGER.",
    "option.since": "The first moment: 7d, 12h, today, 2026-10, 2026-10-31, or an ISO time.",
    "option.until": "The last moment; a date is included. By default now.",
    "option.timezone": "The time zone of days and dates: Europe/Paris, local. By default UTC, as OpenAI bills.",
    "option.tag": "Only calls with this tag.",
    "option.filter": "Only calls with this {dimension}. May be given several times.",
    "option.json": "Write JSON.",
    "option.lang": "The language: en or fr. By default that of the locale.",
    "option.quiet": "Write the summary as one line.",
    "option.format": "The form: table (the default), tree, markdown, chat, line, json or csv.",
    "option.by": "What to group by: model (the default), agent, operation, user, session, endpoint, provider, block, "
    "organization, project, tag:NAME. Several are separated by commas: agent,model.",
    "option.report": "Save a report in this file as well. The suffix is the form: .json, .csv, .md or .txt.",
    "option.excel": "Write CSV as Excel opens it: with a byte order mark, and the separator of the language.",
    "option.host": "A proxy or gateway of your own that passes calls to OpenAI; HOST=azure for Azure. May be given "
    "several times.",
    "option.limit": "A limit of the ledger: cost=50/month, calls=1000/day, tokens=2000000/week, errors=20/hour; the "
    "period may also be minute or total, and is day by default. cost=2/day/user is a limit for each user, "
    "also agent or model. May be given several times.",
    "option.output": "Write the summary to this file instead of standard error.",
    # Commands.
    "run": "Run a program as python does, and write at its end what its calls cost. Options of openai-meter come "
    "before PROGRAM. Everything after it belongs to the program.",
    "run.program": "A script, a directory or zip archive with a __main__.py, or the name of a Python command; then "
    "its arguments.",
    "run.module": "PROGRAM is a module, as for python -m.",
    "run.ledger": "Keep every call in this database: sqlite:///usage.db, or postgresql+psycopg://...",
    "run.budget": "Refuse calls before they are sent when this is spent: 5/day and 500/month are US dollars; also "
    "1000calls/hour, 2000000tokens/day, and 2/day/user for each user. May be given several times. Each process has its "
    "own, unless there is a --budget-store. Default: OPENAI_METER_BUDGET.",
    "run.budget_store": "Where all processes share the budgets: sqlite:///budgets.db, postgresql+psycopg://..., "
    "redis://... Default: OPENAI_METER_BUDGET_STORE.",
    "run.no_children": "Meter this process only. By default the Python processes that the program starts are metered "
    "too, and the summary is of all of them.",
    "run.serve": "Show the dashboard on this port while the program runs; 0 is any free port.",
    "demo": "Show what the meter does, with a workflow of four agents. The workflow calls a local stand-in for the "
    "OpenAI API: no key, no network.",
    "demo.serve": "Serve the dashboard of sixty days of made-up calls instead.",
    "report": "Show what a ledger holds: by default the last 30 days, day by day.",
    "report.by": "What to group by: hour, day, week, month, model, agent ... Several: day,agent.",
    "report.breakdown": "Show the models of each row below it.",
    "report.fold_snapshots": "Add the dated snapshots of a model to the row of the model.",
    "report.compact": "Show calls, tokens and cost only.",
    "report.chart": "Draw bars instead of a table.",
    "report.sort": "The order of rows: name, cost, tokens, input, output, calls or errors. By default cost, and time "
    "for periods.",
    "report.top": "Show only the first rows, and the sum of all others in one row.",
    "report.csv": "Write CSV.",
    "check": "Check limits of a ledger, for scripts. The exit code is 0 if all are kept, 3 if one is exceeded, 1 "
    "if the ledger cannot be read.",
    "check.strict": "Exit with code 3 also where calls of unknown cost or size may exceed a limit.",
    "budgets": "Show what the budgets of a store have spent and hold, over all processes that share it.",
    "budgets.store": "The store: sqlite:///budgets.db, postgresql+psycopg://..., redis://... Default: "
    "OPENAI_METER_BUDGET_STORE.",
    "top": "Watch what is spent, live, in the terminal. It shows dollars and tokens per minute by model, agent ..., "
    "and limits. The key q or Ctrl-C ends it. Without a terminal it writes plain text, page after page.",
    "top.by": "What to group by: model, agent, operation, user, session, endpoint, provider, project, tag:NAME.",
    "top.interval": "The time between two pages.",
    "top.once": "Show one page and end.",
    "top.json": "Write JSON, one line for each page.",
    "live.url": "A server of openai-meter serve as the source, instead of a ledger.",
    "live.window": "The length of the window of the last calls: 10s to 1h.",
    "live.timezone": "The time zone whose midnight is the beginning of today. By default UTC.",
    "statusline": "Write one line for a shell prompt, tmux or a status bar. The line has the cost of today and the "
    "last minutes. If the source does not answer in time, the line is short, and the exit code is still 0.",
    "statusline.format": 'The form of the line, such as "{{cost}} {{calls}} {{tokens}} {{errors}} {{rate}} {{spark}}".',
    "statusline.since": "The beginning of the sums: today, or as for report: 7d, 12h, 2026-10.",
    "statusline.timeout": "The time that the source may take.",
    "statusline.color": "Use colours, also where the output is not a terminal.",
    "serve": "Serve the dashboard and the HTTP API of a ledger, on this machine.",
    "proxy": "Meter the OpenAI traffic of a program in any language: it passes through this process, unchanged.",
    "proxy.program": "The program and its arguments. OPENAI_BASE_URL is set for it. The exit code is its own.",
    "proxy.token": "What requests must have in the header x-openai-meter-token. Needed for addresses outside this "
    "machine. Other users can read it in the list of processes: better set OPENAI_METER_TOKEN.",
    "proxy.upstream": "The base URL of the API. By default OPENAI_BASE_URL, or OpenAI's own.",
    "proxy.serve": "The port of a dashboard of what passes through.",
    "serve.host": "The address to listen on. Addresses outside this machine need a token.",
    "serve.port": "The port; 0 is any free port.",
    "serve.token": "The bearer token of requests. Other users can read it in the list of processes: better set "
    "OPENAI_METER_TOKEN.",
    "serve.timezone": "The time zone of the days and months of limits: Europe/Paris, local. By default UTC.",
    "serve.allow_host": "A host name of the server, in addition to localhost. May be given several times.",
    "forecast": "Forecast the cost of this day, week or month at its end.",
    "forecast.period": "The period; by default the month.",
    "compare": "Compare two parts of history. The result shows the cost and the tokens per call of each, and where the "
    "difference in cost comes from.",
    "compare.a": "A part of history: 2026-10, 7d, 2026-10-01..2026-10-15, agent=planner, tag:prompt=v2.",
    "compare.b": "The other part. Differences are B less A.",
    "statement": "Write what to charge to a customer, a team or a user for a month: cost by model, a share of the cost "
    "of calls without a value, and the markup, each on a line of its own.",
    "statement.for": "What the statement is for: tag:customer=acme, user=ann, project=x. Without a value, a statement "
    "for each value.",
    "statement.month": "The month, such as 2026-11; or use --since and --until.",
    "statement.markup": "What costs are multiplied with: 1.25 adds a quarter.",
    "statement.split": "How the cost of calls without a value is divided. By default it is not charged.",
    "statement.currency": "The currency of the amounts. By default USD.",
    "statement.rates": "The file eurofxref-hist.csv of the European Central Bank. The rate of the last day is used, or "
    "the last earlier one.",
    "statement.html": "Write a page of HTML that can be printed.",
    "statement.csv": "Write CSV, one row for each line.",
    "statement.output": "Write to this file; without a value in --for, a file for each value to this folder.",
    "error.statement": "{names} are several forms; use one",
    "export": "Write the calls of a ledger for other programs, or a dashboard, or alert rules. Grafana gets a "
    "dashboard, Prometheus alert rules; both read the metrics of openai_meter.prometheus.",
    "export.what": "What to write; by default calls. focus is a dataset of costs by the FOCUS specification.",
    "export.format": "The form of calls: csv, jsonl (the default), parquet or litellm. That of focus: csv or parquet, "
    "by default the suffix of the file.",
    "export.version": "For focus: the version of the specification.",
    "export.by": "For focus: further dimensions that rows are kept apart by: agent, operation, user, session, block.",
    "export.bill": "For focus 1.4: OpenAI's costs in a file, as for reconcile --costs. The datasets InvoiceDetail and "
    "BillingPeriod are written next to the file.",
    "export.account": "For focus: the BillingAccountId. By default the organization, else the provider.",
    "export.output": "Write to this file instead of standard output.",
    "reconcile": "Compare a ledger with OpenAI's bill of some days, and show where a difference comes from. It reads "
    "the usage and the costs of the organization with the key of OPENAI_ADMIN_KEY, or from files. Exit code 1: the "
    "coverage is below --fail-under, or the bill cannot be read.",
    "reconcile.period": "A month (2026-11), a week, a date, 7d, or 2026-11-01..2026-11-15; days in UTC.",
    "reconcile.by": "What the lines are grouped by: day, project, model, line_item. Several are separated by commas.",
    "reconcile.fail_under": "End with 1 if the ledger has less than this part of the billed amount: 0.98.",
    "reconcile.usage": "Usage from a file that was downloaded, instead of a key. May be given several times.",
    "reconcile.costs": "Costs from such a file. May be given several times.",
    "reconcile.prices": "Your own prices, as a TOML file.",
    "import": "Store calls from files in a ledger. It reads exported JSON lines, reports of TokenTracker, spend "
    "logs of LiteLLM (JSON or CSV), and outputs "
    "of the Batch API. A file can be imported again: no call counts twice. Batch outputs are priced as batch; do not "
    "import the output of a batch that a metered program has polled to its end, because that program has counted it. "
    "After the word openai-usage, the files are usage and costs as OpenAI exports them: they are kept for reconcile.",
    "import.files": "The files to read.",
    "import.timezone": "The time zone of times that do not name theirs. By default local.",
    "reprice": "Price again the calls that have no full price, each at the price of its day.",
    "reprice.prices": "Your own prices, as a TOML file.",
    "prune": "Delete the details of old calls. Their sums per day stay, with model, agent, user and more; sessions and "
    "tags of those days are lost. Only whole days in UTC are deleted. It asks for confirmation.",
    "prune.before": "The day before which details are deleted: 90d, 2026-08, 2026-08-01.",
    "prune.yes": "Do not ask for confirmation.",
    "prices": "Show the prices that calls are priced by, or fetch the newest catalog. After an update it shows which "
    "prices have changed.",
    "prices.model": "One model; by default all. The word update fetches the newest catalog.",
    "explain": "Explain the cost of one call. It reads JSON from standard input: a usage object, or a whole answer of "
    "the API.",
    "explain.model": "The model, if the JSON does not name it.",
    "explain.endpoint": "The endpoint: chat.completions, responses, embeddings ...",
    "explain.tier": "The service tier that served the call.",
    "explain.batch": "The call was a line of a batch.",
    "explain.at": "When the call was made (ISO 8601, UTC). By default now.",
    "explain.host": "The host that answered.",
    "estimate": "Estimate the tokens of a text or a request, and what they would cost as input.",
    "estimate.file": "The file to read; - is standard input.",
    "estimate.model": "The model that it is for.",
    "estimate.request": "The file is the body of a request, as JSON.",
    "estimate.endpoint": "The endpoint of the request: chat.completions, responses, embeddings ...",
    "webhook": "Test the webhooks that alerts are posted to.",
    "webhook.test": "Post one test alert to a webhook, and write whether it was accepted.",
    "webhook.url": "The webhook; by default that of OPENAI_METER_WEBHOOK.",
    "webhook.secret": "The secret that signs the request (whsec_...). Other users can read it in the list of "
    "processes: better set OPENAI_METER_WEBHOOK_SECRET.",
    "webhook.format": "standard, slack or discord. By default that of the host.",
    "webhook.timeout": "The seconds that the request may take; 10 by default.",
    "webhook.allow_private": "Allow a host with a private address.",
    "webhook.json": "Write what was sent and received as JSON.",
    "webhook.verbose": "Show what was sent and received.",
    "doctor": "Examine this installation. It tries which calls are counted here, and finds which other packages "
    "patch openai, and what is missing.",
    "doctor.strict": "Exit with code 1 for warnings too.",
    "doctor.patience": "The seconds of processor time that trying all calls may take together.",
    "docs": "Show the pages of the documentation in the terminal.",
    "docs.topic": "The page. Without it, the list of pages.",
}
