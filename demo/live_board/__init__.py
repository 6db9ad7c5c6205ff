"""The live training board: polls a run's events and draws its curves in the browser.

    board_feed.py            a browser's question -> one small reply (pure Python, no gradio)
    board_asks.py            rarer questions: a zoom's finer part, the list of runs, what differs, CSV (board_csv.py)
    board_digest.py          events -> the few numbers and sentences in a reply; board_marks.py: what happened when
    board_thinning.py        long curves made short; board_values.py, board_questions.py: what may travel out and in
    board_strings.py         every word the board shows, in English and Chinese; board_setting_names.py: of settings
    live_board.py            the Gradio component that ties feed, words, markup and script together
    live_board.html / .css
    live_board_scale.js      numbers to pixels; _axis: where a step lies on the axis; _words: numbers to words
    live_board_store.js      what has arrived of a run; _polling: the clock that asks; _overlay: runs laid over it
    live_board_series.js     runs -> what charts draw; _small: of the small ones; _table: what differs, and CSV
    live_board_chart.js      one chart; _draw: its parts; _zoom: reading and zooming; _timeline: the marks below it
    live_board.js            the page; _head: its headline, log and labels

`board_feed` may be imported where gradio is absent, so nothing is re-exported here.
"""
