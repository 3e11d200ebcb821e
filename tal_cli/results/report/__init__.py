"""`--report`: everything that was detected as one self-contained page.

The page works from `file://` without a network. Each video's data is JSON in an element of its own, which the page
parses when that video is opened; nothing from a file name, a label or an annotation is ever markup or script, and a
content security policy lets only the page's own script run. `page.html.jinja` is the shell, `page/*.js` and
`page.css` are what moves in it.
"""
