"""Words of the form before Start: settings, schedule, finder, files. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "form_minutes": ("Minutes", "分钟"),
    "form_batch": ("Batch", "批大小"),
    "form_rate": ("Rate", "学习率"),
    "form_network": ("Network", "网络"),
    "form_pictures": ("Pictures", "图片"),
    "form_balance": ("Rare classes", "稀少的类别"),
    "form_learning": ("Learning", "学习"),
    "form_machine": ("Machine", "机器"),
    "form_run": ("Run", "记录"),
    "form_image_size": ("Size (px)", "尺寸（像素）"),
    "form_thaw": ("Thaw", "解冻"),
    "form_thaw_none": ("none", "无"),
    "form_thaw_gradual": ("gradually", "逐步"),
    "form_drop_path": ("Skip blocks (chance)", "跳过残差块（概率）"),
    "form_mixup": ("Mixup", "Mixup 混合"),
    "form_cutmix": ("CutMix", "CutMix 拼贴"),
    "form_class_weights": ("Class weights", "类别权重"),
    "form_sampling": ("Sampling", "采样"),
    "form_schedule": ("Schedule", "调度"),
    "form_clip_norm": ("Longest gradient", "梯度上限"),
    "form_patience": ("Patience (epochs)", "耐心（轮）"),
    "form_keep": ("Keep epochs", "保留各轮"),
    "form_halve": ("Out of memory: go on with half the batch", "内存不足时批大小减半继续"),
    "form_files": ("Settings: save, load, clone", "设置：保存、载入、复制"),
    "form_save": ("Save settings", "保存设置"),
    "form_load": ("Load settings", "载入设置"),
    "form_clone": ("Clone the run shown", "复制所示训练的设置"),
    "form_repeat": ("Repeat this run elsewhere", "在别处重现此训练"),
    "form_command": ("The same on the command line", "等效命令行"),
    "form_script": ("train.py, which needs only torch and torchvision", "train.py（只需 torch 和 torchvision）"),
    "form_run_settings": ("Settings as JSON", "设置（JSON）"),
    "form_finder": ("Find a learning rate", "寻找学习率"),
    "form_find": ("Scan", "扫描"),
    "form_find_stop": ("Stop", "停止"),
    "form_use_rate": ("Use it", "采用"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "form_others": ("Also set: {settings}.", "另外设置：{settings}。"),
    "form_loaded": ("The settings are in the form; Start trains with them.", "设置已填入表单，点击“开始”即可训练。"),
    "plan_epochs": ("epochs", "轮"),
    "plan_summary": (
        "{data}: {network}, {size} px, {epochs} epochs of {steps} steps, batch {batch}, "
        "{optimizer}, {schedule} up to {rate}",
        "{data}：{network}，{size} 像素，{epochs} 轮 × {steps} 步，批大小 {batch}，"
        "{optimizer}，{schedule}，最高 {rate}",
    ),
    "plan_budget": (
        "{data}, {minutes} minutes: network, size and epochs are chosen by the speed measured at the start; "
        "the learning rate then runs through {schedule} in that time.",
        "{data}，{minutes} 分钟：网络、尺寸和轮数按开始时测得的速度选择；学习率在这段时间内走完 {schedule}。",
    ),
    "plan_pending": ("The plan appears once the network is loaded.", "网络加载后显示计划。"),
    "plan_impossible": ("So it cannot start: {reason}", "无法开始：{reason}"),
    "plan_why": ("Why", "原因"),
    "find_scanning": ("Scanning: step {done} of {total}", "扫描中：第 {done} 步，共 {total} 步"),
    "find_loss": ("loss", "损失"),
    "find_rate": ("learning rate", "学习率"),
    "find_suggested": (
        "The loss falls fastest near {rate}: a good peak for {schedule}.",
        "损失在 {rate} 附近下降最快，适合作为 {schedule} 的峰值。",
    ),
    "find_nothing": (
        "The loss never fell, so the scan suggests nothing; try more pictures or another network.",
        "损失没有下降，因此没有建议；请换更多图片或其他网络。",
    ),
}
