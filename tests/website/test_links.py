"""The checker of the site's links."""

from website.links import broken_links


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "picture one.svg").write_text("<svg/>")
    (tmp_path / "index.html").write_text(
        '<h1 id="top">a</h1><a href="a/">1</a> <a href="a/#here">2</a> <a href="#top">3</a>'
        '<img src="picture%20one.svg"><a href="https://example.com/nothing">4</a>'
        '<a href="mailto:a@example.com">5</a><a href="/a/">6</a>'
        '<a href="b/">7</a><a href="a/#there">8</a><img src="no.svg"><a href="#nowhere">9</a>'
    )
    (tmp_path / "a" / "index.html").write_text('<a id="here" href="..">up</a><a href="../c">c</a>')
    assert broken_links(tmp_path) == [
        "a/index.html: ../c",
        "index.html: b/",
        "index.html: a/#there",
        "index.html: no.svg",
        "index.html: #nowhere",
    ]
