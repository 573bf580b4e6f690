"""Views and reports of the minimal W&B server: stored as sent, and served to `wandb.Api` and to wandb-workspaces."""

import base64
from typing import Any


class Views:
    """Views of one project by id, each with `name`, `displayName`, `description`, `type` and the JSON text `spec`."""

    def __init__(self, entity: str, project: str):
        self.entity, self.project = entity, project
        self.stored: dict[str, dict[str, Any]] = {}

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """Response to a GraphQL operation with these variables; None if it is not about views."""
        match operation:
            case "GetDefaultEntity":
                return {"viewer": {"id": "u", "entity": self.entity}}
            case "GetProjects":
                page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
                node = {"__typename": "Project", "id": "p", "name": self.project, "entityName": self.entity}
                node |= {"createdAt": "2026-01-01T00:00:00", "isBenchmark": False, "user": None}
                return {"models": {"pageInfo": page, "edges": [{"node": node, "cursor": "0"}]}}
            case "ProjectInternalId":
                return {"project": {"id": "p", "internalId": "1"} if self._has(given, "projectName") else None}
            case "upsertView" | "UpsertView2":
                return {"upsertView": self._upsert(given)}
            case "View":
                found = self._found(given["viewType"], given["viewName"])
                return {"project": {"allViews": {"edges": found}} if self._has(given, "name") else None}
            case "ProjectViews":
                page = {"endCursor": None, "hasNextPage": False}
                found = self._found("runs", given.get("viewName"))
                has = given["entity"] == self.entity and given["project"] == self.project
                return {"project": {"allViews": {"edges": found, "pageInfo": page}} if has else None}
            case "SpecificReport":
                return {"view": self.stored.get(given["reportId"])}
        return None

    def _has(self, given: dict[str, Any], key: str) -> bool:
        return (given["entityName"], given[key]) == (self.entity, self.project)

    def _found(self, kind: str, name: str | None) -> list[dict[str, Any]]:
        views = [view for view in self.stored.values() if view["type"] == kind and name in (None, view["name"])]
        return [{"node": view, "cursor": view["id"]} for view in views]

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        """Store a view; without an id, as a new one, even if another has its name, so that tests notice duplicates."""
        new = not given.get("id")
        # The form of W&B's ids, which addresses of reports contain.
        id_ = given["id"] if not new else base64.b64encode(f"View:{len(self.stored)}".encode()).decode()
        project = {"id": "p", "name": self.project, "entityName": self.entity}
        kept = {key: given[key] for key in ("name", "displayName", "description", "type", "spec")}
        times = {"createdAt": "2026-01-01T00:00:00", "updatedAt": "2026-01-01T00:00:00"}
        if not new and id_ not in self.stored:
            raise KeyError(id_)
        self.stored[id_] = {"id": id_, "project": project, "user": None, **times, **kept}
        return {"view": self.stored[id_], "inserted": new}
