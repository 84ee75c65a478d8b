"""Chat templates that end: Transformers' own sandbox, with a budget of time and of characters for each conversation.

A template is a program of whoever made the model. The sandbox keeps it from files and from Python, but lets it loop for
days or write a text without end, perhaps for one certain text only, so that no trial at the start would show it. Here the
template itself is changed where it is compiled: loops, macros and calls look at the clock, and what makes a text or a list
is counted, beforehand where a short text could become a huge one. What a template writes stays the same.

Source: https://jinja.palletsprojects.com/en/stable/sandbox/, "the sandbox alone is not a solution for perfect security".
"""

import functools
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from transformers.utils import chat_template_utils

from reward_model.errors import ModelError, one_line

SECONDS = 5.0  # of the thread's own computing, so that a busy machine changes nothing; real templates take milliseconds
CHARACTERS, PER_CHARACTER = 64 << 20, 64  # that may come to be, and so many more for each one of the conversation
BITS = 1 << 16  # of an integer

# Filters, methods and operators by how their numbers make a text longer: to a width, or so many times.
_FORMATTING = {"format", "format_map", "%"}
_WIDENING = {"center", "ljust", "rjust", "zfill", "to_bytes"}
_REPEATING = {"indent", "expandtabs", "tojson", "batch", "slice", "wordwrap", "generate_lorem_ipsum", "*"}
# Those that may write one of their texts once for each character or element of another.
_MULTIPLYING = {"replace", "join", "translate", "wordwrap"}
_ELEMENT = 32  # characters that an element of a list counts for: it takes memory, and time to count
_STEP, _COUNT = "bounded step", "bounded value"  # no template can name a filter like that
_SIZED = (str, bytes, list, tuple, dict)
_NUMBER = re.compile(r"\d{1,18}")
_budget = threading.local()


class ChatTemplateError(ModelError, jinja2.TemplateError):
    """A chat template that is none, or fails for a conversation. It is one of Jinja's errors too, as callers expect."""


class TemplateLimitError(ChatTemplateError):
    """A chat template that does not end, or writes without end, for one of the conversations."""


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox with budgets. Compiled templates call `bounded_step` and `bounded_value` as filters."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})
    optimized = False  # what is constant would be computed while the template is compiled, by code without budgets

    def from_string(self, source: Any, *args: Any, **kwargs: Any) -> jinja2.Template:
        for name, function in self.filters.items():
            self.filters[name] = functools.wraps(function)(functools.partial(self._filtered, name, function))
        self.filters |= {_STEP: self.bounded_step, _COUNT: self.bounded_value}
        self.template_class = BoundedTemplate
        try:
            return super().from_string(source, *args, **kwargs)
        except (jinja2.TemplateError, RecursionError) as error:
            raise _failure(error) from error

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Instrument().visit(super()._parse(source, name, filename))
        return tree

    def bounded_step(self, _: Any = None) -> bool:
        """Looks at the clock. Always true, so that it can stand in a condition."""
        if time.thread_time() > getattr(_budget, "ends", float("inf")):
            raise _stop(f"takes more than {SECONDS:g} seconds")
        return True

    def bounded_value(self, value: Any) -> Any:
        """The value, once it is counted."""
        if isinstance(value, _SIZED):
            left = _left()
            _budget.characters = left - _size(value, left)
            if _budget.characters < 0:
                raise _stop("writes without end")
        return value

    def bounded_operation(self, name: str, function: Callable[[], Any], *values: Any) -> Any:
        """What a filter, a method or an operator makes of values. What would be huge is refused before it is there."""
        self.bounded_step()
        left = _left()
        sizes = [_size(value, left) for value in values if isinstance(value, _SIZED)]
        numbers = [abs(value) for value in values if isinstance(value, int)]
        expected = sum(sizes)
        if name in _FORMATTING:
            among = [
                value.values() if isinstance(value, dict) else value
                for value in values
                if isinstance(value, dict | tuple)
            ]
            numbers += [abs(value) for part in among for value in part if isinstance(value, int)]
            numbers += map(int, _NUMBER.findall(str(values[0])))
        if name in _WIDENING | _FORMATTING:
            expected += sum(numbers)
        if name in _REPEATING:
            expected = max(expected, 1) * math.prod(max(number, 1) for number in numbers)
        if name in _MULTIPLYING and sizes:
            expected = max(expected, max(sizes[0], 1) * max(sizes[1:], default=1))
        if expected > left:
            raise _stop("writes without end")
        return self.bounded_value(function())

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # named as in Jinja
        method = getattr(__obj, "__wrapped__", __obj)  # the sandbox wraps `str.format`
        name, called = (
            getattr(method, "__name__", ""),
            functools.partial(super().call, __context, __obj, *args, **kwargs),
        )
        named = [value for key, value in kwargs.items() if not key.startswith("_")]  # but for the names in scope
        return __self.bounded_operation(name, called, getattr(method, "__self__", None), *args, *named)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        operation = functools.partial(super().call_binop, context, operator, left, right)
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * (abs(right) if operator == "**" else 1) + right.bit_length()
            if bits > BITS:
                raise _stop("computes with a huge number")
            return operation()
        if operator == "+":
            return self.bounded_value(operation())
        return self.bounded_operation(operator, operation, left, right)

    def _filtered(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if name == "join":  # of what `map` and `select` have not yet made
            args = tuple(list(value) if isinstance(value, Iterator) else value for value in args)
        values = [value for value in args if not isinstance(value, jinja2.Environment | nodes.EvalContext | Context)]
        return self.bounded_operation(name, functools.partial(function, *args, **kwargs), *values, *kwargs.values())


class BoundedTemplate(jinja2.Template):
    """A template whose every rendering has a budget of its own."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        _budget.ends = time.thread_time() + SECONDS
        _budget.characters = CHARACTERS + PER_CHARACTER * _size([args, kwargs], CHARACTERS)
        try:
            return super().render(*args, **kwargs)
        except RecursionError:
            raise _stop("calls itself without end") from None
        except MemoryError:
            raise _stop("writes without end") from None
        except ChatTemplateError:
            raise
        except Exception as error:  # a template may do with any value what does not work with it
            raise _failure(error) from error
        finally:
            _budget.__dict__.clear()


class _Instrument(NodeTransformer):
    """Puts the looks at the clock and the counting into a parsed template."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        if node.test is not None:
            node.test = nodes.And(_step(), node.test, lineno=node.lineno)
        node.body.insert(0, nodes.ExprStmt(_step(), lineno=node.lineno))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_step(), lineno=node.lineno))
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [
            _counted(nodes.Const(part.data) if isinstance(part, nodes.TemplateData) else part) for part in node.nodes
        ]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [_counted(part) for part in node.nodes]
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _counted(node) if isinstance(node.arg, nodes.Slice) else node


def bound_templates() -> None:
    """From now on Transformers renders chat templates with budgets, in this process."""
    if chat_template_utils.ImmutableSandboxedEnvironment is not BoundedEnvironment:
        chat_template_utils.ImmutableSandboxedEnvironment = BoundedEnvironment  # type: ignore[misc]
        chat_template_utils._compile_jinja_template.cache_clear()


def _left() -> int:
    return int(getattr(_budget, "characters", CHARACTERS))


def _size(value: Any, most: int) -> int:
    """Characters that a text or a list of texts is written with, about; counted no further than `most`."""
    if isinstance(value, str | bytes):
        return len(value)
    size, waiting = 0, [value]
    while waiting and size <= most:
        part = waiting.pop()
        size += _ELEMENT
        if isinstance(part, str | bytes):
            size += len(part)
        elif isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            waiting += part
    return size


def _step() -> nodes.Expr:
    return nodes.Filter(nodes.Const(None), _STEP, [], [], None, None, lineno=1)


def _counted(value: nodes.Expr) -> nodes.Expr:
    return nodes.Filter(value, _COUNT, [], [], None, None, lineno=value.lineno)


def _failure(error: Exception) -> ChatTemplateError:
    return ChatTemplateError(f"the chat template fails ({one_line(error)}); correct chat_template.jinja")


def _stop(what: str) -> TemplateLimitError:
    return TemplateLimitError(
        f"the chat template {what} for one conversation; correct chat_template.jinja, or choose another model"
    )
