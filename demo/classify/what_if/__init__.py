"""The what-if brush: a photo one can paint over, turn, blur, brighten and compress while the bars follow.

what_if.py          the Gradio component, and what it is told about a photo
what_if.html / what_if.css
what_if_picture.js, what_if_asking.js, what_if_answer.js, what_if.js
                    the edited picture; one question at a time; bars and sentence; the page
"""
