"""Great Expectations' Data Docs as one page that needs nothing else: no script, no style sheet, no picture
from another host, so that it can be kept as evidence and opened anywhere.

The library renders the sections; only the frame around them (``data_docs.html.j2``) is ours, because the
library's own loads a dozen files from content networks.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from drl.data.expectations import import_great_expectations


def render_data_docs(result: dict[str, Any]) -> str:
    """HTML of a :class:`~drl.data.expectations.Validation`'s result; the same for the same result."""
    import_great_expectations()
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    document = ValidationResultsPageRenderer().render(
        expectationSuiteValidationResultSchema.load(_as_gx(result))
    )
    view = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent))
    numbers = count(1)
    view.env.filters["generate_html_element_uuid"] = lambda prefix="": f"{prefix or ''}{next(numbers)}"
    page: str = view.render(
        document,
        template="data_docs.html.j2",
        suite_name=result["suite_name"],
        success=result["success"],
        version=result["meta"]["great_expectations_version"],
    )
    return "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n"


def _as_gx(result: dict[str, Any]) -> dict[str, Any]:
    results = []
    for outcome in result["results"]:
        config = {**outcome["expectation_config"], "severity": "critical"}
        message = outcome["exception"]
        info = {
            "raised_exception": message is not None,
            "exception_message": message,
            "exception_traceback": "",
        }
        results.append(
            {
                "success": outcome["success"],
                "expectation_config": config,
                "result": outcome["result"],
                "meta": {},
                "exception_info": info,
            }
        )
    return {**result, "results": results, "suite_parameters": {}}
