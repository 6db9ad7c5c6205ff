"""Words of “Teach”. key: (English, Chinese)"""

from demo.words.many import TABLE_WORDS

LABELS: dict[str, tuple[str, str]] = {
    "teaching_tab": ("Teach", "教新类别"),
    "teaching_how": (
        "Collect a few pictures of each class, from files or from the camera. The network you choose lends its eyes; "
        "only the last layer is learned, in seconds. Nothing leaves this machine.",
        "为每个类别收集一些图片（文件或摄像头均可）。所选网络提供特征，只需几秒学习最后一层。所有数据都留在本机。",
    ),
    "teaching_backbone": ("Network to build on", "基础网络"),
    "teaching_name": ("Name of the new model", "新模型的名称"),
    "teaching_start": ("Teach", "开始学习"),
    "teaching_try": ("Try it: a photo", "试一试：放入照片"),
    "teaching_tune": ("Make it better: fine-tune the network on these pictures", "进一步提升：用这些图片微调网络"),
    "teaching_tune_how": (
        "The pictures become a data set in the data folder (bursts stay together), and a normal training goes on from "
        "this model in the Train tab.",
        "图片会写入数据文件夹成为数据集（同一组连拍不会被拆开），然后在“训练”页从此模型继续训练。",
    ),
    "teaching_way": ("What learns", "训练哪些层"),
    "teaching_frozen": ("the last layer only (fast)", "仅最后一层（快）"),
    "teaching_staged": ("the later stages", "后面的阶段"),
    "teaching_full": ("everything (slow, most pictures)", "全部（慢，需要更多图片）"),
    "teaching_promote": ("Start the fine-tuning", "开始微调"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "teaching_first": (
        "Add two classes or more, ten pictures each or a burst or two, and press Teach.",
        "添加至少两个类别，每类约十张图片或一两组连拍，然后点击“开始学习”。",
    ),
    "teaching_default_name": ("My classes", "我的类别"),
    "teaching_looking": ("Looking at the pictures", "正在查看图片"),
    "teaching_learning": ("Learning, and judging on what is kept back", "正在学习，并用保留的图片评估"),
    "teaching_about": ("About {share:.0%} right", "约 {share:.0%} 正确"),
    "teaching_untold": ("How good it is cannot be told yet", "目前无法判断准确率"),
    "teaching_between": (
        "Most likely between {low:.0%} and {high:.0%}: judged on {n:,} pictures",
        "很可能在 {low:.0%} 到 {high:.0%} 之间：用 {n:,} 张图片评估",
    ),
    "teaching_by_hold_out": (
        "These were kept back; the model in use then learned from them too.",
        "这些图片先被保留用于评估，之后最终模型也从中学习。",
    ),
    "teaching_by_turns": (
        "There are few, so each was kept back once in turn ({folds}-fold cross-validation); the model in use learned "
        "from all of them.",
        "图片较少，因此每张轮流保留一次（{folds} 折交叉验证）；最终模型从全部图片学习。",
    ),
    "teaching_groups": (
        "They are {groups:,} bursts, near-copies or single pictures; what belongs together was never split.",
        "它们共有 {groups:,} 组（连拍、近似图片或单张）；同组图片从不拆开。",
    ),
    "teaching_one_burst": (
        "Every class is one burst, and frames of a burst are too alike to judge by. Record a second burst of each, at "
        "another moment, or add other pictures.",
        "每个类别都只有一组连拍，同组画面过于相似，无法评估。请换个时间再录一组，或添加其他图片。",
    ),
    "teaching_unjudged": (
        "Not judged, since all their pictures are one burst: {names}.",
        "未评估（全部图片属于同一组连拍）：{names}。",
    ),
    "teaching_mistaken": (
        "{count:,} of {total:,} “{true}” were taken for “{answer}”.",
        "{total:,} 张“{true}”中有 {count:,} 张被认作“{answer}”。",
    ),
    "teaching_perfect": ("None was mistaken.", "没有认错。"),
    "teaching_took": (
        "{pictures:,} pictures of {classes:,} classes, taught in {seconds:.1f} s on the network “{backbone}”.",
        "{classes:,} 个类别共 {pictures:,} 张图片，基于网络“{backbone}”用时 {seconds:.1f} 秒。",
    ),
    "teaching_saved": (
        "It is called “{title}” and can be chosen wherever a model is asked for; teaching again under this name "
        "replaces it.",
        "它名为“{title}”，可在所有选择模型的地方使用；以同一名称再次学习会替换它。",
    ),
    "teaching_left_out": ("Left out: {reason}", "未使用：{reason}"),
    "teaching_no_unknown": (
        "It knows only these classes: anything else is taken for one of them.",
        "它只认识这些类别：其他任何东西都会被认作其中之一。",
    ),
    "teaching_some_unknown": (
        "It refuses what looks very unlike its pictures (and about 1 in 20 of your own); much else is still taken for "
        "one of these classes.",
        "与所学图片差异很大的会被拒绝（您自己的图片约有 1/20 也会被拒绝）；许多其他东西仍会被认作这些类别之一。",
    ),
    "teaching_drop": ("Drop a photo to ask the model you taught.", "放入照片，询问您训练的模型。"),
    "teaching_not_yet": ("Teach a model first.", "请先训练一个模型。"),
    "teaching_promoted": (
        "Written: {train:,} pictures to learn from and {val:,} to judge by. The training “{name}” is in the Train tab.",
        "已写入：{train:,} 张用于训练，{val:,} 张用于评估。训练“{name}”已在“训练”页中。",
    ),
}

# words of the board's own script; “{n}” and the like are filled in by the browser
BOARD: dict[str, tuple[str, str]] = {
    "new_class": ("Name of a class", "类别名称"),
    "class_name": ("Class name", "类别名称"),
    "add_class": ("Add class", "添加类别"),
    "or": ("or all at once:", "或一次添加全部："),
    "choose_folder": ("a folder", "文件夹"),
    "choose_zip": ("a zip", "zip 压缩包"),
    "clear": ("Remove all", "全部移除"),
    "clear_sure": ("Remove all classes and their pictures?", "移除所有类别及其图片？"),
    "dismiss": ("Dismiss", "关闭"),
    "empty": (
        "No classes yet. Name one above, or choose a folder or zip that has a folder for each class.",
        "还没有类别。请在上方输入名称，或选择每类一个子文件夹的文件夹或 zip。",
    ),
    "choose_pictures": ("Add pictures", "添加图片"),
    "camera": ("Camera", "摄像头"),
    "close_camera": ("Close camera", "关闭摄像头"),
    "ask_camera": ("Ask with the camera", "用摄像头提问"),
    "hold": ("Hold to record", "按住录制"),
    "frame": ("camera picture {n}", "摄像头图片 {n}"),
    "pictures": ("{n} pictures", "{n} 张图片"),
    "pictures_one": ("1 picture", "1 张图片"),
    "bursts": ("{n} bursts", "{n} 组连拍"),
    "bursts_one": ("1 burst", "1 组连拍"),
    "more": ("… and {n} older ones", "……以及更早的 {n} 张"),
    "remove_class": ("Remove class {name}", "移除类别 {name}"),
    "remove_picture": ("Remove this picture", "移除这张图片"),
    "sending": ("{done} of {total} pictures sent …", "已发送 {done} / {total} 张图片…"),
    "reading_zip": ("Reading the zip …", "正在读取 zip…"),
    "opening_camera": (
        "Opening the camera: the browser may ask for permission …",
        "正在打开摄像头：浏览器可能会请求权限…",
    ),
    "too_large": (
        "{name} is larger than 25 MB, the limit here; make it smaller first.",
        "{name} 超过 25 MB 的上限；请先缩小。",
    ),
    "zip_too_large": (
        "{name} is larger than {limit} GB; split or shrink the pictures.",
        "{name} 超过 {limit} GB；请拆分或缩小图片。",
    ),
    "too_many": (
        "{n} pictures are too many: there is room for {room} of {limit} here. Choose fewer, or train a network.",
        "{n} 张图片过多：此处还能放 {room} 张（上限 {limit}）。请少选一些，或用它们训练网络。",
    ),
    "too_many_classes": (  # as the classroom says it of a zip
        "With these there would be {n} classes, and {limit} are the limit here; choose fewer, or train a network with "
        "them in the Train tab.",
        "加上这些将有 {n} 个类别，而此处上限为 {limit} 个；请少选一些，或在“训练”页用它们训练网络。",
    ),
    "unreadable": ("{name} could not be read from the disk; choose it again.", "无法读取 {name}；请重新选择。"),
    "drop_on_class": (
        "Drop pictures onto the card of their class; a folder of class folders or a zip may go anywhere here.",
        "请将图片拖到其类别的卡片上；含类别子文件夹的文件夹或 zip 可拖到此处任意位置。",
    ),
    "left_out": (
        "{n} files of the folder are no pictures in a class folder and were left out.",
        "该文件夹中有 {n} 个文件不是类别子文件夹中的图片，已忽略。",
    ),
    "cut": TABLE_WORDS["cut"],
    "no_class_folders": (
        "The folder has no class folders with pictures; put the pictures of each class into a folder of its own.",
        "该文件夹中没有含图片的类别子文件夹；请把每类图片放入各自的文件夹。",
    ),
    "no_answer": (
        "The app did not answer; check that it is running and try again.",
        "应用没有响应；请确认它正在运行后重试。",
    ),
    "camera_none": (
        "There is no camera, or it cannot be used; add pictures from files instead.",
        "没有可用的摄像头；请改为添加图片文件。",
    ),
    "camera_refused": (
        "The browser was not allowed to use the camera; allow it next to the address and try again.",
        "浏览器未获准使用摄像头；请在地址栏旁允许后重试。",
    ),
    "camera_busy": (
        "Another program is using the camera; close it and try again.",
        "摄像头正被其他程序使用；请关闭后重试。",
    ),
    "camera_insecure": (
        "Browsers give the camera only to pages of this machine or with https; add pictures from files instead.",
        "浏览器只允许本机页面或 https 页面使用摄像头；请改为添加图片文件。",
    ),
}
