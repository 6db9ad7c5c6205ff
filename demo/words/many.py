"""Words of “Many” and of the strip of earlier answers. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "many_tab": ("Many", "多张"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "many_photo_gone": (
        "This photo is no longer kept; drop it again.",
        "这张照片已不再保存；请重新放入。",
    ),
}

# said by the scripts in the browser; {…} is filled in there
TABLE_WORDS: dict[str, tuple[str, str]] = {
    "invite": ("Drop photos, a folder or a zip here", "将照片、文件夹或 zip 拖放到这里"),
    "limits": (
        "Up to {most} pictures at a time. Nothing leaves this machine, and nothing is kept longer than an hour.",
        "一次最多 {most} 张图片。所有内容都留在本机，最多保存一小时。",
    ),
    "pick_files": ("Choose photos or a zip", "选择照片或 zip"),
    "pick_folder": ("Choose a folder", "选择文件夹"),
    "sending": ("Sending {name} … {share} %", "正在发送 {name}… {share} %"),
    "reading_folder": ("Looking through the folder …", "正在查看文件夹…"),
    "cut": (
        "Of this folder only the first {most} files were looked at, and at most {deep} folders deep.",
        "此文件夹只查看了前 {most} 个文件，最多 {deep} 层子文件夹。",
    ),
    "nothing": ("There are no pictures in what you chose.", "所选内容中没有图片。"),
    "busy": ("A batch is under way; cancel it before starting another.", "已有一批在处理；请先取消再开始新的一批。"),
    "lost": ("The app does not answer. The page keeps trying.", "应用没有响应。页面会继续尝试。"),
    "moved": (
        "{name} was moved or changed before it was sent; choose it again.",
        "{name} 在发送前被移动或更改；请重新选择。",
    ),
    "not_sent": ("Some pictures could not be sent: {reason}", "部分图片未能发送：{reason}"),
    "of": ("{done} of {total}", "{total} 张中的 {done} 张"),
    "progress": ("Progress", "进度"),
    "rate": ("{rate} photos/s", "{rate} 张/秒"),
    "left": ("{time} left", "还需 {time}"),
    "done": ("{done} pictures answered", "已完成 {done} 张图片"),
    "cancelled": ("Cancelled after {done} pictures", "已取消，完成 {done} 张图片"),
    "abandoned": ("No more pictures came; {done} are here", "没有收到更多图片；已有 {done} 张"),
    "failed": ("Broke off after {done} pictures: {reason}", "在 {done} 张图片后中断：{reason}"),
    "refused": ("{count} pictures over the limit of {most} were refused.", "超过上限 {most} 的 {count} 张图片被拒绝。"),
    "ignored": ("{count} other files were left out.", "忽略了 {count} 个其他文件。"),
    "threshold": (
        "Refused below {share} %, the threshold set in “One”.",
        "低于 {share} % 即拒绝，阈值来自“单张”。",
    ),
    "cancel": ("Cancel", "取消"),
    "csv": ("Download CSV", "下载 CSV"),
    "counts": ("How many of each", "各类数量"),
    "unknown": ("not known", "不认识"),
    "broken": ("broken", "损坏"),
    "unsure": ("unsure (below 60 %)", "不确定（低于 60 %）"),
    "wrong": ("not what the folder says", "与文件夹不符"),
    "filter": ("Show", "显示"),
    "all": ("all", "全部"),
    "picture": ("Picture", "图片"),
    "file": ("File", "文件"),
    "answer": ("Answer", "答案"),
    "probability": ("How sure", "把握"),
    "second": ("Second answer", "第二答案"),
    "remark": ("Remark", "备注"),
    "folder_says": ("folder says {label}", "文件夹：{label}"),
    "nearest": ("nearest: {label}", "最接近：{label}"),
    "page": ("{first}–{last} of {total}", "第 {first}–{last} 张，共 {total} 张"),
    "previous": ("Previous", "上一页"),
    "next": ("Next", "下一页"),
    "close": ("Close", "关闭"),
    "judged": (
        "The folders are named after classes: {right} of {judged} answers agree ({share} %).",
        "文件夹以类别命名：{judged} 个答案中有 {right} 个一致（{share} %）。",
    ),
    "confusion": ("Which was taken for which", "混淆矩阵"),
    "confusion_hint": (
        "A row for each folder, a column for each answer.",
        "每行一个文件夹，每列一个答案。",
    ),
    "empty_filter": ("No picture fits.", "没有符合的图片。"),
    "enlarge": ("Show {name} larger", "放大 {name}"),
    "minutes": ("{m} min {s} s", "{m} 分 {s} 秒"),
    "seconds": ("{s} s", "{s} 秒"),
}

HISTORY_WORDS: dict[str, tuple[str, str]] = {
    "title": ("Earlier answers on this page", "本页之前的答案"),
    "clear": ("Clear", "清空"),
    "again": ("{label}, {share}, {model}: ask again", "{label}，{share}，{model}：再次识别"),
    "unknown": ("not known", "不认识"),
    "kept": ("Kept in this browser tab only.", "仅保存在此浏览器标签页中。"),
}
