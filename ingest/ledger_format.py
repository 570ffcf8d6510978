"""The ledger's tables, as the first version made them and as every step since has changed them.

A new ledger is the first version and all steps in one transaction; an older one is brought up step
by step, each one transaction, by whichever process opens it to write. Readers wait for that.

To change the format, append a step; never touch what is written here already, for there are ledgers
made by it. A process of the version before may still have the ledger open while a step is taken:
add tables and columns with a default, and rename or drop nothing that it uses.
"""

from __future__ import annotations

from typing import Final

FIRST_FORMAT: Final = """
create table meta (key text primary key, value text not null) strict;
create table sequence (only_row integer primary key check (only_row = 1), next integer not null)
    strict;
create table inbox (
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
    account_id text, owner_id text, workspace_id text, workspace_name text, source text,
    plan_id text, payment_id text, currency text, auto_renew integer, amount text,
    start_date text, end_date text, renewal_date text, due_date text,
    payload text not null
) strict;
create unique index inbox_event_id on inbox (event_id);
create table duplicates (
    seq integer primary key,
    received_at integer not null,
    event_id text not null,
    event_type text not null,
    account_id text,
    delivery_id text,
    origin text not null,
    verified_by text not null
) strict;
create table quarantine (
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
create table rejections (
    rejection_id integer primary key autoincrement,
    received_at integer not null,
    reason text not null,
    detail text not null,
    client text,
    body_bytes integer
) strict;
create table landings (
    first_seq integer primary key,
    last_seq integer not null,
    status text not null check (status in ('planned', 'landed')),
    planned_at integer not null,
    landed_at integer,
    rows integer
) strict;
create table files (
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
create table batches (
    batch_id text primary key,
    source text not null,
    status text not null check (status in ('planned', 'landed', 'undone')),
    started_at integer not null,
    finished_at integer,
    first_seq integer,
    last_seq integer,
    report text
) strict;
create table counters (name text primary key, value integer not null) strict;
create table fields (
    kind text not null check (kind in ('unknown', 'unreadable')),
    event_type text not null,
    name text not null,
    count integer not null,
    primary key (kind, event_type, name)
) strict;
insert into sequence values (1, 1);
"""

_FILES_CAN_BE_REPLACED: Final = """
alter table files add column replaced_at integer;
alter table files add column replaced_by integer references files (file_id);
alter table files add column deleted_at integer;
create index files_live on files (file_id) where status = 'live';
create index files_replaced on files (replaced_at) where status = 'replaced';
create table rewrites (path text primary key, planned_at integer not null) strict, without rowid;
"""
"""replaced_by: the file that holds its rows now, null where none does. deleted_at: when it was
removed from the disk. rewrites: files that are being written and are not in the catalogue yet."""

_PEOPLE_CAN_BE_FORGOTTEN: Final = """
create table erasures (
    erasure_id text primary key,
    status text not null check (status in ('pending', 'rewritten', 'scrubbing', 'done')),
    requested_at integer not null,
    completed_at integer,
    subject text,
    report text
) strict;
create table tombstones (
    hash blob primary key,
    kind text not null check (kind in ('account', 'owner', 'workspace')),
    erasure_id text not null,
    added_at integer not null
) strict, without rowid;
insert or ignore into meta values ('erasure_key', lower(hex(randomblob(32))));
"""
"""tombstones: keyed hashes of every name that was erased; the key is there before the first one, as
every backup must have it. subject: the names, only until done."""

_REMOVED_FILES_ARE_MANY: Final = """
drop index files_replaced;
create index files_to_remove on files (replaced_at)
    where status = 'replaced' and deleted_at is null;
"""
"""Whoever looks for files to remove need not pass over all that ever were."""

_WHAT_WAS_SEEN_STAYS: Final = """
create table seen (
    key text primary key,
    count integer not null,
    last_at integer not null,
    through integer not null
) strict, without rowid;
"""
"""What the checklist knows of rows that may be gone (sightings.py); nothing about anybody."""

STEPS: Final = (
    _FILES_CAN_BE_REPLACED,
    _PEOPLE_CAN_BE_FORGOTTEN,
    _REMOVED_FILES_ARE_MANY,
    _WHAT_WAS_SEEN_STAYS,
)
"""The n-th of them leads from format n to format n + 1."""

FORMAT_VERSION: Final = 1 + len(STEPS)
