CREATE TABLE meta (key text primary key, value text not null) strict;
CREATE TABLE sequence (only_row integer primary key check (only_row = 1), next integer not null)
    strict;
CREATE TABLE inbox (
    seq integer primary key,
    node text not null,
    event_id text not null,
    digest text not null,
    event_type text not null,
    sender_event text not null,
    occurred_at integer not null,
    event_time_source text not null,
    received_at integer not null,
    origin text not null,
    delivery_id text,
    batch_id text,
    verified_by text not null,
    account_id text, owner_id text, workspace_id text, workspace_name text, source text, plan_id text, payment_id text, currency text, auto_renew integer, amount text, start_date text, end_date text, renewal_date text, due_date text,
    payload text not null
) strict;
CREATE UNIQUE INDEX inbox_event_id on inbox (event_id);
CREATE TABLE duplicates (
    seq integer primary key,
    received_at integer not null,
    event_id text not null,
    event_type text not null,
    account_id text,
    delivery_id text,
    origin text not null,
    verified_by text not null
) strict;
CREATE TABLE quarantine (
    seq integer primary key,
    received_at integer not null,
    origin text not null,
    event_type text,
    sender_event text,
    delivery_id text,
    signed_at integer,
    verified_by text not null,
    batch_id text,
    file text,
    line integer,
    problems text not null,
    body blob not null,
    status text not null default 'open',
    replayed_seq integer,
    replayed_at integer
) strict;
CREATE TABLE rejections (
    rejection_id integer primary key autoincrement,
    received_at integer not null,
    reason text not null,
    detail text not null,
    client text,
    body_bytes integer
) strict;
CREATE TABLE landings (
    first_seq integer primary key,
    last_seq integer not null,
    status text not null check (status in ('planned', 'landed')),
    planned_at integer not null,
    landed_at integer,
    rows integer
) strict;
CREATE TABLE files (
    file_id integer primary key autoincrement,
    path text not null unique,
    event_type text not null,
    event_month text not null,
    node text not null,
    first_seq integer not null,
    last_seq integer not null,
    rows integer not null,
    bytes integer not null,
    sha256 text not null,
    batch_id text,
    status text not null default 'live' check (status in ('live', 'replaced')),
    added_at integer not null
) strict;
CREATE TABLE batches (
    batch_id text primary key,
    source text not null,
    status text not null check (status in ('planned', 'landed', 'undone')),
    started_at integer not null,
    finished_at integer,
    first_seq integer,
    last_seq integer,
    report text
) strict;
CREATE TABLE counters (name text primary key, value integer not null) strict;
CREATE TABLE fields (
    kind text not null check (kind in ('unknown', 'unreadable')),
    event_type text not null,
    name text not null,
    count integer not null,
    primary key (kind, event_type, name)
) strict;
insert into meta values ('format_version', '1');
insert into sequence values (1, 5);
insert into inbox values (1, 'n1', 'first', '0b8bcb2b25a6fbba49f3590a1f6e401bdc4c434c6ff3b6f8159b71418a209bda', 'plan_changed', 'plan_changed', 1790000000000000, 'received', 1790000000000000, 'webhook', NULL, NULL, 'token:t', 'a@b.c', NULL, NULL, NULL, NULL, 'pro', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"event": "plan_changed", "email": "a@b.c", "plan": "pro", "event_id": "first"}');
insert into inbox values (4, 'n1', 'second', '747f61e698db510d5d32dc9cc7524bcdeb663ab63c310ffb3334d02c60d193ef', 'plan_changed', 'plan_changed', 1790000000000000, 'received', 1790000000000000, 'webhook', NULL, NULL, 'token:t', 'a@b.c', NULL, NULL, NULL, NULL, 'free', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"event": "plan_changed", "email": "a@b.c", "plan": "free", "event_id": "second", "odd": 1}');
insert into duplicates values (2, 1790000000000000, 'first', 'plan_changed', 'a@b.c', NULL, 'webhook', 'token:t');
insert into quarantine values (3, 1790000000000000, 'webhook', 'overdue_payment', 'overdue', NULL, NULL, 'token:t', NULL, NULL, NULL, '[{"field": "account_id", "code": "missing", "message": "owner_email (also email, user_email) is missing; add it"}]', X'7B226576656E74223A20226F766572647565227D', 'open', NULL, NULL);
insert into sqlite_sequence values ('files', 1);
insert into landings values (1, 1, 'landed', 1790000000000001, 1790000000000002, 1);
insert into files values (1, 'event_type=plan_changed/event_month=2026-09/n1-1-1.parquet', 'plan_changed', '2026-09', 'n1', 1, 1, 1, 7411, 'abababababababababababababababababababababababababababababababab', NULL, 'live', 1790000000000002);
insert into counters values ('deliveries', 4);
insert into counters values ('events', 2);
insert into counters values ('duplicates', 1);
insert into counters values ('quarantined', 1);
insert into fields values ('unknown', 'plan_changed', 'odd', 1);
