"""`--report`: all detections on one self-contained page.

The page works from `file://` without a network. The data of each video is JSON in its own element, parsed when the
video is opened; file names, labels and annotations never become markup or script, and a content security policy allows
only the page's own script. `page.html.jinja` is the template, `page/*.js` and `page.css` its scripts and styles.
"""
