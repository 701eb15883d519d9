"""What to run: a YAML file, checked, and expanded into points.

    scenario.yaml -> Document (values, line of each key) -> ScenarioFile (form) -> Scenario (components) -> points

Every mistake is a ScenarioError with file, line and key.
"""

from linksim.scenario.load import from_mapping, json_schema, load
from linksim.scenario.point import Point
from linksim.scenario.study import Scenario

__all__ = ["Point", "Scenario", "from_mapping", "json_schema", "load"]
