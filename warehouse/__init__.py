"""From the lake to tables people read.

state.py      the lake's events without bodies, each once, each with its owner; who changed
settle.py     which of several rows with one id is the event
prices.py     the plan catalogue, validated
transform.py  dbt in process: the models in sql/ over the touched accounts, or over everybody
recipe.py     what dbt sent, sent again without dbt while nothing but events and time changed
publish.py    an immutable copy of the result, swapped in by a symbolic link
build.py      the order of it all
refresh.py    once or, with watch.py, on every change; one at a time, outcome in refresh.json
reader.py     the newest published version, for whoever reads
adhoc.py      analysts' SQL, run by sandbox.py in a process that can be killed
"""
