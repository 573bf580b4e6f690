"""Sweeps of the W&B server of the tests: values for the real agents, with a stop of poor runs."""

import itertools
import json
import math
import random
from collections.abc import Callable
from typing import Any

import yaml


class Sweeps:
    """Sweeps and agents by id.

    Args:
        entity: Name of the entity.
        project: Name of the project.
        runs: Runs of the server by id, whose `history` decides about `early_terminate`.

    Attributes:
        sweeps: Configuration of each sweep, with `id`, `state`, `waiting` (parameters) and `started` (parameters by run id).
    """

    def __init__(self, entity: str, project: str, runs: dict[str, dict]):
        self.project = {"id": "p", "name": project, "entity": {"id": "e", "name": entity}}
        self.runs = runs
        self.sweeps: dict[str, dict] = {}

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """Response to a GraphQL operation; None if it is not one of sweeps."""
        found: Callable[[dict[str, Any]], dict] | None = {
            "UpsertSweep": self._create,
            "SweepWithRuns": self._find,
            "CreateAgent": lambda given: {"createAgent": {"agent": {"id": given["sweep"]}}},
            "Heartbeat": self._command,
        }.get(operation)
        return found and found(given)

    def _create(self, given: dict[str, Any]) -> dict:
        name = f"sweep{len(self.sweeps)}"
        config = yaml.safe_load(given["config"])
        waiting = grid(config["parameters"]) if config["method"] == "grid" else draws(config["parameters"], number=3)
        sweep = {"id": name, "name": name, "state": "RUNNING", "config": given["config"], "waiting": waiting, "started": {}}
        self.sweeps[name] = sweep
        return {"upsertSweep": {"sweep": {"name": name, "project": self.project}, "configValidationWarnings": []}}

    def _find(self, given: dict[str, Any]) -> dict:
        sweep = self.sweeps.get(given["sweep"])
        return {"project": {**self.project, "sweep": sweep and {**sweep, "runs": {"edges": []}}}}

    def _command(self, given: dict[str, Any]) -> dict:
        sweep = self.sweeps[given["id"]]
        config = yaml.safe_load(sweep["config"])
        commands: list[dict] = []
        if running := json.loads(given["runState"]):
            commands = [{"type": "stop", "run_id": run} for run in running if self._is_poor(sweep, config, run)]
        elif sweep["waiting"]:
            run = f"{sweep['id']}run{len(sweep['started'])}"
            sweep["started"][run] = parameters = sweep["waiting"].pop(0)
            values = {key: {"value": value} for key, value in parameters.items()}
            commands = [{"type": "run", "run_id": run, "program": config["program"], "args": values}]
        else:
            commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}

    def _is_poor(self, sweep: dict, config: dict, run: str) -> bool:
        """Test, as hyperband does, if a run is worse than another one after `min_iter` values of the metric."""
        if "early_terminate" not in config:
            return False
        place, name = config["early_terminate"]["min_iter"] - 1, config["metric"]["name"]
        curves = {
            id_: [row[name] for row in self.runs[id_]["history"] if name in row] for id_ in sweep["started"] if id_ in self.runs
        }
        known = {id_: values[place] for id_, values in curves.items() if len(values) > place}
        best = {"maximize": max, "minimize": min}[config["metric"]["goal"]]
        return run in known and known[run] != best(known.values())


def grid(parameters: dict[str, dict]) -> list[dict]:
    """All combinations of the parameters of a sweep."""
    values = [parameter.get("values", [parameter.get("value")]) for parameter in parameters.values()]
    return [dict(zip(parameters, chosen, strict=True)) for chosen in itertools.product(*values)]


def draws(parameters: dict[str, dict], number: int) -> list[dict]:
    """Random combinations of the parameters of a sweep; `bayes` differs only in which values it chooses."""
    generator = random.Random(0)

    def draw(parameter: dict) -> object:
        if "values" in parameter:
            return generator.choice(parameter["values"])
        assert parameter["distribution"] == "log_uniform_values"
        return math.exp(generator.uniform(math.log(parameter["min"]), math.log(parameter["max"])))

    return [{name: draw(parameter) for name, parameter in parameters.items()} for _ in range(number)]
