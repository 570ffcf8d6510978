"""Receives deliveries and keeps them: from an HTTP request to a row in the lake.

A request enters at `http_protocol` (limits, deadlines), `app` (routes) and `receiver`, which reads
it beside other `bodies` and has it proved by `verify`; `commit` is the queue before the writing
process (`writer`): there it is read by `strict_json` and `parse` along the tables of `contract`
(`layout`) and written into the SQLite `ledger` with whatever else arrived meanwhile; only then is
it answered. `landing` moves committed rows into Parquet files (`lake`) in a process of its own.
`trigger` (with `samples`, `request_forms` and `postman`), `simulate` (with `scenario`, `lifecycles`
and `chaos`) and `deliver` are a sender's side, for whoever tests the integration; `listen`,
`log_search` and `resend` read the ledger as one log (`delivery_log`), `checklist` counts what it
shows (`sightings`), `contract_help` holds it to the contract.
"""
