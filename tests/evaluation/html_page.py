"""What a test sees of a page: addresses, links, words and embedded files."""

import base64
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a browser would load, the text and the balance of the tags."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.ids, self.links, self.open, self.words = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data", "action") or (
                name in ("href", "xlink:href") and tag != "a"
            ):
                self.addresses.append(value)
            if name == "href" and tag == "a":
                self.links.append(value)
            if name == "id":
                self.ids.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def embedded(page, media_type):
    start = f"data:{media_type};base64,"
    return [
        base64.b64decode(address.removeprefix(start), validate=True)
        for address in page.addresses
        if address.startswith(start)
    ]
