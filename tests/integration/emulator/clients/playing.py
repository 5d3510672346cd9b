"""Plays a scenario: `python playing.py boto3|awscli SCENARIO PICTURES` prints what each step was answered, as JSON.

The endpoint, the region and the credentials come from the environment, as every AWS client reads them.
`playing.mjs` does the same with the JavaScript SDK.
"""

import contextlib
import io
import json
import re
import sys
import tempfile
from pathlib import Path


def resolved(value, answers):
    """Members with each "$step/path/to/value" replaced by what that step was answered."""
    if isinstance(value, dict):
        return {key: resolved(item, answers) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, answers) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        step, *path = value[1:].split("/")
        found = answers[step]
        for key in path:
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found
    return value


def dashed(operation):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", operation).lower()


class Boto3:
    def __init__(self):
        import boto3

        self._client = boto3.client("rekognition")

    def call(self, operation, members, pictures):
        from botocore.exceptions import ClientError

        members = members | {name: {"Bytes": path.read_bytes()} for name, path in pictures.items()}
        try:
            answer = getattr(self._client, dashed(operation).replace("-", "_"))(**members)
        except ClientError as error:
            error_of, about = error.response["Error"], error.response["ResponseMetadata"]
            status, attempts = about["HTTPStatusCode"], about["RetryAttempts"] + 1
            return {"error": [error_of["Code"], error_of["Message"]], "status": status, "attempts": attempts}
        del answer["ResponseMetadata"]
        return {"answer": answer}


class AwsCli:
    """The command line client's own entry point, many times in one process: starting it takes half a second."""

    def __init__(self):
        from awscli.clidriver import create_clidriver

        self._driver = create_clidriver()

    def call(self, operation, members, pictures):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(members, file)
            file.flush()
            command = ["rekognition", dashed(operation), "--cli-input-json", f"file://{file.name}"]
            command += ["--no-paginate", "--output", "json"]
            for name, path in pictures.items():
                command += [f"--{dashed(name)}-bytes", f"fileb://{path}"]
            said, complained = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
                code = self._driver.main(command)
        if code == 0:
            return {"answer": json.loads(said.getvalue() or "{}")}
        text = complained.getvalue()
        found = re.search(r"An error occurred \((\w+)\).* operation(?: \(.*\))?: (.*)", text, re.DOTALL)
        if found is None:
            raise RuntimeError(text)
        return {"error": [found[1], found[2].strip()]}


def play(scenario, pictures, client):
    answers, results = {}, []
    for step in scenario:
        members = resolved(step["members"], answers)
        named = {"Image": step["picture"]} if "picture" in step else {}
        named |= dict(zip(("SourceImage", "TargetImage"), step.get("compared", ()), strict=False))
        shown = {name: pictures / file for name, file in named.items()}
        result = client.call(step["operation"], members, shown)
        pages = [result.get("answer")]
        while step.get("follow") and pages[-1].get("NextToken"):
            more = client.call(step["operation"], members | {"NextToken": pages[-1]["NextToken"]}, shown)
            pages.append(more["answer"])
        answers[step["name"]] = result.get("answer")
        results.append({"name": step["name"], **result, **({"pages": pages} if step.get("follow") else {})})
    return results


if __name__ == "__main__":
    client_name, scenario_path, pictures_path = sys.argv[1:]
    driver = {"boto3": Boto3, "awscli": AwsCli}[client_name]()
    steps = [step for step in json.loads(Path(scenario_path).read_text())["steps"] if not step.get("wire")]
    results = play(steps, Path(pictures_path), driver)
    json.dump(results, sys.stdout, default=str)
