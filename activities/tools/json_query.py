"""The tool `json_query`: takes values out of JSON with JMESPath."""

from __future__ import annotations

import json
from typing import Annotated, Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import Field

from activities.adapters.base import ToolFailed


def json_query(
    data: Annotated[Any, Field(description="JSON data, or a text that holds JSON")],
    query: Annotated[str, Field(description="JMESPath expression, such as items[?price > `10`].name", max_length=2000)],
) -> Any:
    """Takes values out of JSON data with a JMESPath expression. What is not there is null."""
    try:
        return jmespath.search(query, json.loads(data) if isinstance(data, str) else data)
    except json.JSONDecodeError as error:
        raise ToolFailed(f"data is a text, but not JSON: {error}") from error
    except (JMESPathError, ValueError, TypeError) as error:
        raise ToolFailed(f"The query cannot be answered: {error}") from error
    except RecursionError as error:
        raise ToolFailed("The query or the data is nested too deeply.") from error
