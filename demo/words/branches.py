"""Words of the queue, of branches, of taking up a run again, and of an app that only reads. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "queue_title": ("Waiting runs", "排队的训练"),
    "fork_title": ("Branch off", "分支"),
    "fork_epoch": ("After epoch (val accuracy)", "从哪一轮之后（验证准确率）"),
    "fork_hint": (
        "A new run that begins where this one stood after a kept epoch, with other settings from there on.",
        "从此训练保留的某一轮之后开始一个新训练，之后使用不同的设置。",
    ),
    "fork_go": ("Branch off", "开始分支"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "queue_count": ("Waiting runs ({count})", "排队的训练（{count}）"),
    "fork_no_epoch": (
        "This run keeps no epoch yet; the first is kept once it has ended.",
        "此训练还没有保留任何一轮；第一轮结束后才会保留。",
    ),
    "fork_waits": (
        "The branch waits for the run under way; it is number {place} in the queue.",
        "分支正在等待当前训练；排在第 {place} 位。",
    ),
    "press_again": (
        "Press the button once more to go on with them as they are now.",
        "再按一次按钮，将使用现在的图片继续。",
    ),
    "only_reads": (
        "Another ResNet Lab app works on this runs folder, so this one only shows what is there. "
        "Close the other one to train here.",
        "另一个 ResNet Lab 正在使用此训练文件夹，这里只能查看。请关闭另一个后再在此训练。",
    ),
}

QUEUE_WORDS: dict[str, tuple[str, str]] = {
    "empty": (
        "No run is waiting. One that is started while another is under way waits here.",
        "没有排队的训练。有训练正在进行时，新开始的训练会在这里排队。",
    ),
    "epochs": ("{n} epochs", "{n} 轮"),
    "up": ("Move {name} up", "上移 {name}"),
    "down": ("Move {name} down", "下移 {name}"),
    "drop": ("Take {name} out of the queue", "将 {name} 移出队列"),
}
