"""Numbers in the text: results of the runs, stored where the prose reads them."""

import re
from collections.abc import Callable, Iterable, Mapping

from utils.checked import checked, shown
from utils.evidence import claims
from utils.figures.runs import FEWEST_FOR_INTERVAL, by_seed, estimate, minus

OPEN = "not yet run"

# How a number is written: what is done to a value of the metric, and the text.
_INTERVAL = "{value:+.%df} [{low:+.%df}, {high:+.%df}]"
UNITS: dict[str, tuple[Callable[[float], float], str]] = {
    "points": (lambda value: 100 * value, _INTERVAL % (2, 2, 2) + " points"),
    "share": (lambda value: value, _INTERVAL % (2, 2, 2)),
    "plain": (lambda value: value, _INTERVAL % (3, 3, 3)),
    "percent": (lambda value: 100 * value, "{value:.1f} %"),
    "times": (lambda value: 2.0**value, "{value:.2f} [{low:.2f}, {high:.2f}]"),
}


class _Number(float):
    """A number whose sign is written as a minus."""

    def __format__(self, spec: str) -> str:
        return minus(super().__format__(spec))


@checked
def glue_texts(texts: Mapping[str, object]) -> None:
    """Store texts for the prose, which reads them with ``{glue:text}``.

    Parameters
    ----------
    texts : mapping of str to object
        Key and text; anything else is converted with ``str``.
    """
    from myst_nb import glue  # Its import takes seconds, and only notebooks with prose need it.

    for key, text in texts.items():
        glue(key, str(text), display=False)


@checked
def glue_claims(settled: Mapping[str, object], parts: Mapping[str, Iterable[str]] = {}) -> None:
    """Store the verdicts on claims for the prose.

    Parameters
    ----------
    settled : mapping of str to Settlement or str
        Name, and what ``result.verdict`` returned; or, for a claim with exact parts alone, its id.
        Stored are ``<name>-quick`` and ``<name>-full``, and ``<name>-exact`` if the claim has an
        exact part.
    parts : mapping of str to sequence of str
        For some of these names, names of the claim's comparisons, in their order. Stored are
        ``<part>-full`` with its interval and ``<part>-quick`` without, and their outcomes: the
        verdict as ``<part>-full-word``, the tally as ``<part>-quick-word``.

    Raises
    ------
    ValueError
        If there are not as many parts as comparisons, or an id has no exact part.
    """
    texts = {}
    for name, settlement in settled.items():
        if not isinstance(settlement, (str, claims.Settlement)):
            raise TypeError(
                f"settled[{name!r}]={shown(settlement)}; allowed is what `result.verdict` returns, "
                "or the id of a claim"
            )
        if isinstance(settlement, str):
            claim = claims.load_ledger().get(settlement)
            if claim is None:
                raise ValueError(
                    f"settled[{name!r}]={shown(settlement)}; the ledger has no such claim"
                )
            if "exact" not in claim.kind:
                raise ValueError(f"settled[{name!r}]={settlement!r}; the claim has no exact part")
        else:
            claim = settlement.claim
            texts |= {f"{name}-{scale}": settlement.summary(scale) for scale in ("quick", "full")}
        if "exact" in claim.kind:
            exact = [part.exact for part in claim.parts if isinstance(part, claims.Exact)]
            texts[f"{name}-exact"] = str(claims.join(exact))
    for name, names in parts.items():
        if not isinstance(settled.get(name), claims.Settlement):
            raise ValueError(f"parts[{name!r}]: settled has no verdict of that name")
        names, compared = list(names), settled[name].claim.comparisons
        if len(names) != len(compared):
            raise ValueError(
                f"parts[{name!r}] has {len(names)} entries; the claim has {len(compared)} "
                "comparisons"
            )
        for part in names:
            texts |= {
                f"{part}-{scale}{word}": OPEN
                for scale in ("quick", "full")
                for word in ("", "-word")
            }
        for comparison, scale, found, outcome in settled[name].rows:
            part = names[compared.index(comparison)]
            full = scale == "full"
            write = (
                comparison.write_interval(found) if full else comparison.write(found.value, True)
            )
            texts[f"{part}-{scale}"] = write
            texts[f"{part}-{scale}-word"] = str(outcome)
    glue_texts(texts)


@checked
def glue_numbers(
    result,
    numbers: Mapping[str, tuple | Callable],
    unit: str = "points",
    text: str | None = None,
    *,
    scale: str = "full",
) -> None:
    """Store means and differences of a result for the prose.

    Parameters
    ----------
    result : Result
        What ``Experiment.run`` returned.
    numbers : mapping of str to tuple or callable
        Key, and ``(metric, arm)`` for a mean or ``(metric, treatment, baseline)`` for a difference
        paired by seed. The metric may be an expression of columns, and an arm a tuple of arms to be
        averaged. Or a function that takes the table of runs and returns the text.
    unit : {"points", "percent", "share", "plain", "times"}
        ``points`` as ``+0.30 [+0.10, +0.50] points``; ``percent`` as ``97.3 %``; ``share`` and
        ``plain`` with two and three decimals and the interval; ``times`` for binary logarithms,
        written as factors: ``1.23 [1.10, 1.40]``.
    text : str, optional
        Another format for each, as for ``str.format``, with the fields ``value``, ``low``, ``high``
        (the 95 % interval), ``min``, ``max`` (over the seeds), ``sd``, ``runs``, and ``count`` (for
        a condition: in how many runs it holds). The numbers are in `unit`:
        ``unit="percent", text="{min:.1f} % to {max:.1f} %"``.
    scale : {"full", "quick", "both"}
        Which runs. With ``both``, ``-quick`` and ``-full`` are added to the keys.

    Raises
    ------
    ValueError
        If `unit` or `scale` is not as above, or an arm is not there.

    Notes
    -----
    If the recorded runs are not complete, or the quick runs leave an arm out, the text is
    ``not yet run``. Below three seeds the default texts omit the interval.
    """
    if unit not in UNITS:
        raise ValueError(f"unit={unit!r}; allowed are {', '.join(map(repr, UNITS))}")
    if scale not in ("full", "quick", "both"):
        raise ValueError(f"scale={scale!r}; allowed are 'full', 'quick', 'both'")
    if not hasattr(result, "recorded"):
        raise TypeError(f"result={shown(result)}; allowed is what `Experiment.run` returns")
    frames = {
        "quick": result.quick,
        "full": result.recorded.frame if result.recorded.complete else None,
    }
    texts = {}
    for at, frame in frames.items():
        if scale in (at, "both"):
            for key, asked in numbers.items():
                key = f"{key}-{at}" if scale == "both" else key
                texts[key] = OPEN if frame is None else _written(frame, at, asked, unit, text)
    glue_texts(texts)


def _written(frame, scale: str, asked, unit: str, text: str | None) -> str:
    if callable(asked):
        return str(asked(frame))
    metric, *sides = asked
    arms = [arm for side in sides for arm in ((side,) if isinstance(side, str) else side)]
    if scale == "quick" and not set(arms) <= set(frame["arm"]):
        return OPEN
    change, usual = UNITS[unit]
    found, runs = estimate(frame, metric, *sides), by_seed(frame, metric, *sides)
    low, high = found.interval()
    fields = {
        "value": found.value,
        "low": low,
        "high": high,
        "min": runs.min(),
        "max": runs.max(),
    }
    fields = {name: _Number(change(float(value))) for name, value in fields.items()}
    fields |= {"sd": _Number(change(runs.std())), "runs": len(runs), "count": int(runs.sum())}
    if len(runs) < FEWEST_FOR_INTERVAL:
        usual = re.sub(r" \[.*\]", "", usual)
    return (text or usual).format(**fields)
