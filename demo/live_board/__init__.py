"""The live training board: polls a run's events and draws its curves in the browser.

    board_feed.py     a browser's question -> one small reply (pure Python, no gradio)
    board_digest.py   events -> the few numbers and sentences in that reply
    board_strings.py  every word the board shows, in English and Chinese
    live_board.py     the Gradio component that ties feed, words, markup and script together
    live_board.html / live_board.css
    live_board_scale.js, live_board_chart.js, live_board_store.js, live_board_words.js, live_board.js
                      numbers to pixels; one chart; what has arrived; words; the page that polls

`board_feed` may be imported where gradio is absent, so nothing is re-exported here.
"""
