"""Artifacts of the minimal W&B server: their files, aliases and metadata, and the runs that use them."""

import json
from typing import Any


class Artifacts:
    """Artifacts by id.

    Attributes:
        stored: `name`, `type`, `metadata`, `aliases`, `run`, `files` (name to bytes) and `state` of each artifact; `manifest`
            is one of the files.
        used: (run, artifact id) pairs in order.
    """

    def __init__(self, url: str, entity: str, project: str):
        self.url = url
        self.project = {"id": "p", "internalId": "1", "name": project, "entityName": entity}
        self.project |= {"entity": {"id": "e", "name": entity}}
        self.stored: dict[str, dict[str, Any]] = {}
        self.used: list[tuple[str, str]] = []

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """Response to a GraphQL operation with these variables; None if it is not about artifacts."""
        given = given.get("input", given)
        match operation:
            case "CreateArtifact":
                return {"createArtifact": {"artifact": self._create(given)}}
            case "CreateArtifactManifest":
                return {"createArtifactManifest": {"artifactManifest": self._manifest(given["artifactID"])}}
            case "UpdateArtifactManifest":
                artifact = given["artifactManifestID"].removeprefix("manifest-")
                return {"updateArtifactManifest": {"artifactManifest": self._manifest(artifact)}}
            case "CreateArtifactFiles":
                edges = [{"node": self._file(file["artifactID"], file["name"])} for file in given["artifactFiles"]]
                return {"createArtifactFiles": {"files": {"edges": edges}}}
            case "CommitArtifact":
                self.stored[given["artifactID"]]["state"] = "COMMITTED"
                return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "0"}}}
            case "ArtifactByID":
                return {"artifact": self._described(self.stored[given["id"]])}
            case "ArtifactMembershipByName":
                name, alias = given["name"].split(":")
                matches = [found for found in self.stored.values() if found["name"] == name and alias in found["aliases"]]
                return {"project": {"artifactCollectionMembership": self._membership(matches[-1]) if matches else None}}
            case "UseArtifact":
                self.used.append((given["runName"], given["artifactID"]))
                return {"useArtifact": {"artifact": {"id": given["artifactID"], "digest": "0", "type": {"name": "dataset"}}}}
        return None

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Committed artifacts of a type, in order."""
        return [found for found in self.stored.values() if found["type"] == kind and found["state"] == "COMMITTED"]

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        name = (given.get("artifactCollectionNames") or [given["artifactCollectionName"]])[0]
        id_, aliases = f"artifact-{len(self.stored)}", [alias["alias"] for alias in given.get("aliases") or []]
        self.stored[id_] = {"id": id_, "name": name, "type": given["artifactTypeName"], "aliases": aliases, "files": {}}
        self.stored[id_] |= {"run": given["runName"], "metadata": json.loads(given.get("metadata") or "{}"), "state": "PENDING"}
        return {"id": id_, "state": "PENDING", "artifactSequence": {"id": name, "name": name, "latestArtifact": None}}

    def _collection(self, artifact: dict[str, Any]) -> dict[str, Any]:
        return {"__typename": "ArtifactSequence", "id": artifact["name"], "name": artifact["name"], "project": self.project}

    def _aliases(self, artifact: dict[str, Any]) -> list[dict[str, Any]]:
        names, collection = artifact["aliases"], self._collection(artifact)
        return [{"__typename": "ArtifactAlias", "id": a, "alias": a, "artifactCollection": collection} for a in names]

    def _membership(self, artifact: dict[str, Any]) -> dict[str, Any]:
        facts = {"__typename": "ArtifactCollectionMembership", "id": "m", "versionIndex": 0, "createdAt": "2026-01-01T00:00:00"}
        facts |= {"aliases": self._aliases(artifact), "artifactCollection": self._collection(artifact)}
        return facts | {"artifact": self._described(artifact)}

    def _described(self, artifact: dict[str, Any]) -> dict[str, Any]:
        facts = {"__typename": "Artifact", "id": artifact["id"], "artifactSequence": self._collection(artifact), "size": 0}
        facts |= {"versionIndex": 0, "artifactType": {"name": artifact["type"]}, "description": None, "tags": []}
        facts |= {"metadata": json.dumps(artifact["metadata"]), "ttlDurationSeconds": -2, "ttlIsInherited": False}
        facts |= {"historyStep": None, "state": artifact["state"], "digest": "0", "digestAlgorithm": "MANIFEST_MD5"}
        facts |= {"commitHash": "0", "fileCount": len(artifact["files"]), "aliases": self._aliases(artifact)}
        return facts | {"createdAt": "2026-01-01T00:00:00", "updatedAt": None}

    def _manifest(self, artifact: str) -> dict[str, Any]:
        url = f"{self.url}/store/{artifact}/manifest"
        return {"id": f"manifest-{artifact}", "file": {"id": "f", "uploadUrl": url, "uploadHeaders": []}}

    def _file(self, artifact: str, name: str) -> dict[str, Any]:
        node = {"storagePath": f"{artifact}/{name}", "uploadUrl": f"{self.url}/store/{artifact}/{name}", "uploadHeaders": []}
        return node | {"name": name, "displayName": name, "uploadMultipartUrls": None, "artifact": {"id": artifact}}
