"""Print every route that the vLLM installed in the Python that runs this can serve, as JSON.

Whether a route is there depends on the model's task, on switches and on environment variables; who guards the door
must know them all. So this takes what each module of routes has to offer, with every switch on, and what the
application itself has besides.
"""

import importlib
import inspect
import json
import os
import pkgutil
import sys
from collections import defaultdict
from unittest import mock

os.environ.update(VLLM_SERVER_DEV_MODE="1", VLLM_ALLOW_RUNTIME_LORA_UPDATING="1", VLLM_LOGGING_LEVEL="ERROR")

import vllm
import vllm.entrypoints
from fastapi import APIRouter, FastAPI

TASKS = ("generate", "transcription", "realtime")
"""Those that need no configuration of a model."""


def modules():
    """The modules that define routes: what does not mention a router or an application is not imported."""
    for found in pkgutil.walk_packages(vllm.entrypoints.__path__, "vllm.entrypoints."):
        source = importlib.util.find_spec(found.name).loader.get_source(found.name) or ""
        if "APIRouter" in source or "def attach_router" in source or "def build_app" in source:
            yield importlib.import_module(found.name)


def application(build_app):
    """The application of a server of text, with the documentation and everything that can be switched on."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    args = make_arg_parser(FlexibleArgumentParser()).parse_args(["--enable-tokenizer-info-endpoint"])
    return build_app(args, TASKS, None)


def routers(module):
    """Whatever in a module has routes, and what it adds to an application."""
    yield from (value for value in vars(module).values() if isinstance(value, APIRouter))
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ != module.__name__:
            continue
        if name == "attach_router":
            app = FastAPI(openapi_url=None)
            app.state.args = mock.MagicMock(profiler_config=None)
            wants_tasks = "supported_tasks" in inspect.signature(function).parameters
            function(app, TASKS) if wants_tasks else function(app)
            yield app
        if name == "build_app":
            yield application(function)


def listed(owner):
    """``METHOD PATH`` of each route; a mounted application takes any method and whatever lies below its path."""
    for route in owner.routes:
        methods = getattr(route, "methods", None) or {"WEBSOCKET" if "WebSocket" in type(route).__name__ else "MOUNT"}
        for method in methods - ({"HEAD"} if "GET" in methods else set()):
            yield method, route.path


def main():
    found = defaultdict(set)
    for module in modules():
        for owner in routers(module):
            for method, path in listed(owner):
                found[path].add(method)
    version = vllm.__version__.split("+")[0]
    routes = [f"{method} {path}" for path in sorted(found) for method in sorted(found[path])]
    json.dump({"version": version, "routes": routes}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
