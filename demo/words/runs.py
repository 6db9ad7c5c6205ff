"""Words of the run history and of asking a model while it learns. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "runs_title": ("Runs", "训练记录"),
    "runs_show_kept": ("show kept epochs", "显示保留的轮次"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "runs_follow": ("follow {name} (newest epoch)", "跟随 {name}（最新一轮）"),
}

# said by the script of the table; {…} is filled in there
TABLE_WORDS: dict[str, tuple[str, str]] = {
    "search": ("Search name, note, tag, data set, network, status …", "搜索名称、备注、标签、数据集、网络、状态……"),
    "search_name": ("Search runs", "搜索训练"),
    "compare": ("Compare", "比较"),
    "compare_some": ("Compare {count}", "比较 {count} 个"),
    "compare_hint": ("Mark two to eight runs to compare their settings.", "勾选两到八个训练来比较设置。"),
    "csv": ("Download CSV", "下载 CSV"),
    "chosen": ("Marked for comparing", "标记以比较"),
    "mark": ("Compare {name}", "比较 {name}"),
    "name": ("Name", "名称"),
    "status": ("Status", "状态"),
    "dataset": ("Data", "数据"),
    "model": ("Network", "网络"),
    "epochs": ("Epochs", "轮次"),
    "best": ("Best", "最佳"),
    "started": ("When", "时间"),
    "size": ("Disk", "磁盘"),
    "show": ("Show", "查看"),
    "show_run": ("Show {name} above", "在上方显示 {name}"),
    "edit": ("Edit", "编辑"),
    "edit_run": ("Name, tags and note of {name}", "{name} 的名称、标签和备注"),
    "delete": ("Delete", "删除"),
    "delete_run": ("Delete {name}", "删除 {name}"),
    "under_way": ("Stop the run before deleting it.", "请先停止训练再删除。"),
    "best_at": ("epoch {epoch}", "第 {epoch} 轮"),
    "no_tags": ("Tags, with commas", "标签，用逗号分隔"),
    "note": ("Note", "备注"),
    "save": ("Save", "保存"),
    "cancel": ("Cancel", "取消"),
    "saved": ("Saved.", "已保存。"),
    "name_hint": ("Empty: the name it had at first", "留空：恢复最初的名称"),
    "deleted": ("“{name}” is in the bin for a day.", "“{name}”已放入回收站，保留一天。"),
    "undo": ("Undo", "撤销"),
    "restored": ("“{name}” is back.", "“{name}”已恢复。"),
    "restore": ("Bring back", "恢复"),
    "restore_run": ("Bring {name} back", "恢复 {name}"),
    "bin": ("Bin: {count} runs, {size}", "回收站：{count} 个训练，{size}"),
    "bin_one": ("Bin: 1 run, {size}", "回收站：1 个训练，{size}"),
    "bin_until": ("deleted {when}", "删除于 {when}"),
    "empty_bin": ("Empty the bin now", "立即清空回收站"),
    "empty_sure": ("Really remove them for good", "确定永久删除"),
    "emptied": ("The bin is empty.", "回收站已清空。"),
    "disk": ("{count} runs, {size} on the disk.", "{count} 个训练，占用磁盘 {size}。"),
    "disk_one": ("1 run, {size} on the disk.", "1 个训练，占用磁盘 {size}。"),
    "found": (
        "{found} of {count} runs, {size} on the disk in all.",
        "{count} 个训练中的 {found} 个，共占用磁盘 {size}。",
    ),
    "none_yet": ("No run yet. Press Start, and it is listed here.", "还没有训练。点击“开始”后会列在这里。"),
    "none_found": ("No run fits these words.", "没有符合的训练。"),
    "more": ("Show {count} more", "再显示 {count} 个"),
    "lost": ("The app does not answer. The page keeps trying.", "应用没有响应。页面会继续尝试。"),
    "status.queued": ("queued", "排队中"),
    "status.preparing": ("preparing", "准备中"),
    "status.running": ("running", "训练中"),
    "status.paused": ("paused", "已暂停"),
    "status.stopping": ("stopping", "正在停止"),
    "status.finished": ("finished", "已完成"),
    "status.stopped": ("stopped", "已停止"),
    "status.failed": ("failed", "失败"),
    "status.interrupted": ("interrupted", "已中断"),
}

# said by the script of the banner
BANNER_WORDS: dict[str, tuple[str, str]] = {
    "training": (
        "This is epoch {epoch} of {epochs} of {name}, which is still training (saved {time}).",
        "这是 {name} 的第 {epoch} 轮（共 {epochs} 轮），仍在训练（保存于 {time}）。",
    ),
    "paused": (
        "This is epoch {epoch} of {epochs} of {name}, which is paused (saved {time}).",
        "这是 {name} 的第 {epoch} 轮（共 {epochs} 轮），训练已暂停（保存于 {time}）。",
    ),
    "ended": (
        "This is epoch {epoch} of {epochs} of {name} (saved {time}).",
        "这是 {name} 的第 {epoch} 轮（共 {epochs} 轮），保存于 {time}。",
    ),
    "renewed": ("The answer follows every new epoch.", "每完成一轮，答案会自动更新。"),
    "best": ("It is the best so far; a better one takes its place.", "这是目前最好的一轮；出现更好的会自动替换。"),
}
