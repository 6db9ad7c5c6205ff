"""The board on which a visitor collects classes: names, pictures, webcam bursts.

classroom.py       what a visitor has collected, in a folder (no gradio, no torch)
classrooms.py      the folders of all visitors, and their sweeping
board_requests.py  a browser's request -> one small reply; never raises
teaching_board.py  the two Gradio components: the board, and the camera that asks a taught model
teaching_board.html / .css, camera_answer.html / .css
board_words.js, camera.js, board_wire.js, board_card.js, teaching_board.js, camera_answer.js
                   words; the camera; sending to the server; one class's card; the board; the live answer
"""
