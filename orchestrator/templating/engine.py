"""Renders the templates, the user's own before the packaged ones."""

from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

_TROUBLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the code of a wrong template can raise."""

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged() -> Path:
    """The folder of the templates that come with deployctl: in the wheel, or at the top of the repository."""
    installed = _PACKAGE / "_templates"
    return installed if installed.is_dir() else _PACKAGE.parent / "templates"


def _defined(function: Callable[..., object]) -> Callable[..., object]:
    """A filter that speaks of an undefined name as such, and not as of a value that it cannot write."""
    from jinja2 import Undefined

    @wraps(function)
    def strict(value: object, *arguments: object, **options: object) -> object:
        return function(str(value) if isinstance(value, Undefined) else value, *arguments, **options)

    return strict


class Renderer:
    """Turns a template's name and a context into a file's text. The same context always gives the same text.

    ``overrides`` is a folder laid out as the packaged one; a template found there is used instead. An override is
    the user's, but often from somewhere else, so it runs sandboxed: it sees its context and the filters, nothing more.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        if overrides is not None and not overrides.is_dir():
            raise UsageError(f"{overrides} is not a folder of templates", remedy="Give --templates an existing folder.")
        self._overrides = overrides

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all packaged templates, which are those that can be overridden."""
        root = packaged()
        return tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*.j2")))

    def render(self, name: str, context: Mapping[str, object]) -> str:
        """Render one template. Raises UsageError, with file and line, for whatever is wrong in it or in a value."""
        from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError

        from orchestrator.templating.text import Unsayable

        try:
            return self._environment.get_template(name).render(context)
        except TemplateSyntaxError as error:
            raise self._wrong(
                error.filename or name, error.lineno, error.message or "", "Correct the syntax."
            ) from error
        except TemplateNotFound as error:
            raise self._wrong(name, None, f"there is no template {error.name}", self._known()) from error
        except Unsayable as error:
            remedy = "Change the value, or the filter that this line applies to it."
            raise self._wrong(name, error, str(error), remedy) from error
        except UndefinedError as error:
            remedy = f"The names to use here: {', '.join(sorted(context))}."
            raise self._wrong(name, error, str(error), remedy) from error
        except UnicodeDecodeError as error:
            raise self._wrong(name, None, "it is not UTF-8 text", "Save the template as UTF-8.") from error
        except (*_TROUBLE, TemplateError) as error:
            why = f"{type(error).__name__} while rendering"  # its text may hold a value, and a value may be a secret
            raise self._wrong(name, error, why, "Correct this line of the template.") from error

    @cached_property
    def _environment(self) -> "ImmutableSandboxedEnvironment":
        from jinja2 import FileSystemLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        from orchestrator.templating.filters import FILTERS

        folders = [packaged()] if self._overrides is None else [self._overrides, packaged()]
        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folders),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,  # no HTML here; each value goes through the filter of its format
        )
        environment.filters.update({name: _defined(function) for name, function in FILTERS.items()})
        return environment

    def _known(self) -> str:
        return f"The templates are: {', '.join(self.names)}."

    def _wrong(self, name: str, at: Exception | int | None, why: str, remedy: str) -> UsageError:
        place = name
        if isinstance(at, int):
            place = f"{name}:{at}"
        elif at is not None:
            place = self._place(at) or name
        return UsageError(f"template {place} cannot be rendered", why=why, remedy=remedy)

    def _place(self, error: Exception) -> str:
        """``file:line`` of the innermost template in the traceback, where Jinja puts the templates' own lines."""
        folders = [str(folder) for folder in (self._overrides, packaged()) if folder is not None]
        place, traceback = "", error.__traceback__
        while traceback is not None:
            file = traceback.tb_frame.f_code.co_filename
            if any(file.startswith(folder) for folder in folders):
                place = f"{file}:{traceback.tb_lineno}"
            traceback = traceback.tb_next
        return place
