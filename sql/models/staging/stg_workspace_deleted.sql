-- One row per workspace: the first event that says it was deleted.
{{ first_event_of_workspaces('workspace_deleted') }}
