"""Writes a page that Sphinx has read, with every reference resolved, as plain Markdown.

Plain means what JupyterLab, VS Code, Colab and GitHub all show alike: CommonMark, tables,
mathematics between dollars, and the HTML of a fold (``<details>``) or a link. A paragraph is one
line.
"""

import base64
import html
import re
from pathlib import Path

from docutils import nodes

# What would be markup wherever it stands in a line, and what would be at its beginning.
_ANYWHERE = re.compile(r"[\\`*$<~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|(?<=\])[(:]")
_AT_THE_START = re.compile(r"^(?:([-+#>])|(\d+)([.)](?:\s|$)))")

# Read by a machine, or drawn by the theme alone.
_SILENT = "comment compound index meta substitution_definition target toctree".split()


class Writer:
    """Writes nodes of one page as plain Markdown.

    Parameters
    ----------
    link : callable
        Takes the address of a link and whether it leads to a place on the same page; returns the
        address to write, or None if there is no target: then only the text stays.
    folder : path
        Folder to which the addresses of images are relative.
    """

    def __init__(self, link, folder="."):
        self._link, self._folder = link, Path(folder)

    def write(self, node):
        """Write a node, block or inline.

        Parameters
        ----------
        node : docutils.nodes.Node
            As it is after Sphinx's transforms for HTML.

        Returns
        -------
        str

        Raises
        ------
        NotImplementedError
            If this kind of node is not known: it would be missing from the text.
        """
        for kind in type(node).__mro__:
            if method := getattr(self, f"_on_{kind.__name__}", None):
                return method(node)
        if type(node).__name__ in _SILENT:
            return ""
        raise NotImplementedError(f"no plain Markdown is known for {type(node).__name__!r}")

    def inline(self, node):
        """Write the children of a node one after the other."""
        return "".join(map(self.write, node.children))

    def blocks(self, node):
        """Write the children of a node as paragraphs."""
        return "\n\n".join(filter(None, map(self.write, node.children)))

    # ---- inside a line ------------------------------------------------------------------------

    _on_inline = inline

    def _on_Text(self, node):
        return _ANYWHERE.sub(r"\\\g<0>", node.astext().replace("\n", " "))

    def _on_emphasis(self, node):
        return f"*{self.inline(node)}*"

    def _on_strong(self, node):
        return f"**{self.inline(node)}**"

    def _on_literal(self, node):
        text = node.astext()
        ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
        space = " " if len(ticks) > 1 else ""
        return f"{ticks}{space}{text}{space}{ticks}"

    def _on_math(self, node):
        return f"${node.astext()}$"

    def _on_reference(self, node):
        target = self._link(node.get("refuri", node.get("refid")), "refuri" not in node)
        return f"[{self.inline(node)}]({target})" if target else self.inline(node)

    def _on_raw(self, node):
        if "html" not in node["format"].split():
            return ""
        text = node.astext().strip("\n")
        if text.startswith("<svg"):
            # Loose in the text, programs that show notebooks take its shapes out.
            named = re.search(r'<title[^>]*>(.*?)</title>|aria-label="([^"]*)"', text, re.S)
            alt = (named[1] or named[2]).strip() if named else ""
            return _embedded(text.encode("utf-8"), "svg+xml", alt)
        return self.html(text)

    def html(self, text):
        """Write HTML again, with the addresses of its links as in the text."""
        return re.sub(r' href="([^"#][^"]*)"', self._href, text)

    def _href(self, match):
        target = self._link(html.unescape(match[1]), False)
        return f' href="{html.escape(target)}"' if target else ""

    def _on_image(self, node):
        if "://" in node["uri"]:
            return f"![{self._on_Text(nodes.Text(node.get('alt', '')))}]({node['uri']})"
        path = self._folder / node["uri"]
        kind = {".svg": "svg+xml", ".jpg": "jpeg"}.get(path.suffix, path.suffix[1:])
        return _embedded(path.read_bytes(), kind, html.escape(node.get("alt", "")))

    # ---- blocks -------------------------------------------------------------------------------

    def _on_title(self, node):
        depth, section = 0, node.parent
        while isinstance(section, nodes.section):
            depth, section = depth + 1, section.parent
        # An admonition's title is in no section of its own.
        return f"{'#' * min(depth, 6)} {self.inline(node)}" if depth else f"**{self.inline(node)}**"

    def _on_paragraph(self, node):
        return _AT_THE_START.sub(
            lambda match: f"\\{match[1]}" if match[1] else f"{match[2]}\\{match[3]}",
            self.inline(node).strip(),
        )

    def _on_rubric(self, node):
        return f"**{self.inline(node)}**"

    def _on_math_block(self, node):
        return f"$$\n{node.astext().strip()}\n$$"

    def _on_literal_block(self, node):
        text = node.astext().rstrip("\n")
        language = node.get("language", "").removeprefix("none").removeprefix("default")
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        return f"{fence}{language}\n{text}\n{fence}"

    def _on_transition(self, node):
        return "---"

    def _on_block_quote(self, node):
        return _indented(self.blocks(node), "> ", "> ")

    def _on_bullet_list(self, node):
        return "\n".join(_indented(self.blocks(item), "- ", "  ") for item in node.children)

    def _on_enumerated_list(self, node):
        numbers = range(node.get("start", 1), len(node) + node.get("start", 1))
        return "\n".join(
            _indented(self.blocks(item), f"{number}. ", " " * len(f"{number}. "))
            for number, item in zip(numbers, node.children, strict=True)
        )

    def _on_definition_list(self, node):
        return "\n".join(_indented(self.write(item), "- ", "  ") for item in node.children)

    def _on_definition_list_item(self, node):
        *terms, definition = node.children
        return f"**{', '.join(map(self.inline, terms))}**<br>{self.blocks(definition)}"

    def _on_table(self, node):
        rows = [list(map(self.write, row)) for row in node.findall(nodes.row)]
        rows.insert(1, ["---"] * len(rows[0]))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _on_entry(self, node):
        return "<br>".join(map(self.write, node.children)).replace("|", r"\|")

    def _on_container(self, node):
        return self.blocks(node)

    _on_section = _on_glossary = _on_figure = _on_legend = _on_container

    def _on_caption(self, node):
        return f"*{self.inline(node)}*"

    def _on_citation(self, node):
        return "\n\n".join(map(self.write, node.children[1:]))  # Without its label.

    def _on_PassthroughTextElement(self, node):
        return f"**{self.inline(node)}**"  # The title of a card.

    def _on_Admonition(self, node):
        name = type(node).__name__.capitalize()
        title = "" if isinstance(node.children[0], nodes.title) else f"**{name}**\n\n"
        return _indented(title + self.blocks(node), "> ", "> ")

    def _on_dropdown_main(self, node):
        title, body = node.children
        return (
            f"<details>\n<summary>{title_of(title)}</summary>\n\n{self.blocks(body)}\n\n</details>"
        )


def title_of(node):
    """Words of a dropdown's title, without the arrow that the theme draws there."""
    texts = node.findall(nodes.Text)
    return html.escape("".join(str(text) for text in texts if type(text.parent) is not nodes.raw))


def _embedded(data, kind, alt):
    data = base64.b64encode(data).decode("ascii")
    return f'<img alt="{alt}" src="data:image/{kind};base64,{data}">'


def _indented(text, first, rest):
    lines = text.split("\n")
    return "\n".join([f"{first}{lines[0]}", *(f"{rest}{line}".rstrip() for line in lines[1:])])
