-- One row per workspace: the first event that says it was created.
{{ first_event_of_workspaces('workspace_created') }}
