"""Words of why this answer: heat maps, nearest pictures, the what-if brush. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "why_title": ("Why this answer", "为什么是这个答案"),
    "why_for": ("What speaks for", "支持哪一类"),
    "why_against": ("and not for", "而不是"),
    "why_strength": ("Strength of the colours (%)", "颜色强度（%）"),
    "why_nearest": ("Show the nearest training pictures", "显示最接近的训练图片"),
    "what_if_title": ("What if … (paint, turn, blur the photo)", "如果……（涂抹、旋转、模糊照片）"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "why_looking": ("Looking …", "正在查看……"),
    "why_no_photo": (
        "Drop a photo above; then this says what in it spoke for the answer.",
        "先在上面放入一张照片，这里会说明答案的依据。",
    ),
    "why_heat_title": ("What speaks for “{label}”", "支持“{label}”的地方"),
    "why_heat": (
        "The brighter a place, the more it speaks for “{label}”: most of all {place}. (Grad-CAM at {layer})",
        "越亮的地方越支持“{label}”，最明显的是{place}。（{layer} 处的 Grad-CAM）",
    ),
    "why_heat_none": (
        "No place speaks for “{label}” at {layer}: the network sees nothing of it here.",
        "{layer} 处没有支持“{label}”的地方：网络在这里没有看到它。",
    ),
    "why_contrast_title": ("Why “{label}” and not “{other}”", "为什么是“{label}”而不是“{other}”"),
    "why_contrast": (
        "Orange speaks for “{label}” rather than “{other}” ({share} of the weight, most of all {place}), "
        "blue for “{other}”; what is clear says nothing either way. (at {layer})",
        "橙色更支持“{label}”而不是“{other}”（占 {share}，最明显的是{place}），蓝色更支持“{other}”，"
        "没有颜色的地方两边都不偏。（{layer} 处）",
    ),
    "why_contrast_none": (
        "No place tells “{label}” from “{other}” at {layer}.",
        "{layer} 处没有能区分“{label}”和“{other}”的地方。",
    ),
    "why_little": ("little", "弱"),
    "why_much": ("much", "强"),
    "why_upper_left": ("in the upper left", "左上"),
    "why_upper": ("at the top", "上方"),
    "why_upper_right": ("in the upper right", "右上"),
    "why_left": ("on the left", "左侧"),
    "why_middle": ("in the middle", "中间"),
    "why_right": ("on the right", "右侧"),
    "why_lower_left": ("in the lower left", "左下"),
    "why_lower": ("at the bottom", "下方"),
    "why_lower_right": ("in the lower right", "右下"),
    "why_nearest_same": (
        "{count} of the {total} training pictures most like this photo are “{label}”, as the answer says.",
        "与这张照片最接近的 {total} 张训练图片中，有 {count} 张是“{label}”，与答案一致。",
    ),
    "why_nearest_none": (
        "None of the {total} training pictures most like this photo is “{label}”, the answer.",
        "与这张照片最接近的 {total} 张训练图片中，没有一张是答案“{label}”。",
    ),
    "why_nearest_how": (
        "Compared with {count} training pictures of {dataset}, by what the last stage of the network makes of them; "
        "1.00 is the same.",
        "与 {dataset} 的 {count} 张训练图片比较网络最后一个阶段的输出；1.00 表示完全相同。",
    ),
    "why_nearest_taught": (
        "Compared with {count} of the pictures it was taught with, by what the last stage of the network makes of "
        "them; 1.00 is the same.",
        "与教它时所用的 {count} 张图片比较网络最后一个阶段的输出；1.00 表示完全相同。",
    ),
    "why_nearest_stand_in": (
        "The photos this model learned from are not on this machine, so these are flowers that this project drew.",
        "此模型的训练照片不在这台机器上，因此这里用的是本项目绘制的花。",
    ),
    "why_nearest_first": (
        "The first time, every training picture goes through the network once: about a minute for 3,000 photos.",
        "第一次需要让每张训练图片通过网络一次：3,000 张照片大约一分钟。",
    ),
    "why_nearest_alike": ("{label} · {similarity}", "{label} · 相似度 {similarity}"),
    "why_nearest_unit": ("pictures", "张图片"),
    "why_nearest_reading": ("Reading the training pictures", "正在读取训练图片"),
}

# shown by the what-if brush; the page fills in the blanks
WHAT_IF: dict[str, tuple[str, str]] = {
    "empty": (
        "Drop a photo above; then paint over it here and watch the answer.",
        "先在上面放入一张照片，然后在这里涂抹，看答案如何变化。",
    ),
    "canvas": (
        "The photo. Drag to paint over it; with the keyboard, arrows move the brush and space paints.",
        "照片。拖动即可涂抹；用键盘时，方向键移动画笔，空格键涂抹。",
    ),
    "brush": ("Brush", "画笔"),
    "grey": ("Grey", "灰色"),
    "smear": ("Blurred", "模糊"),
    "erase": ("Eraser", "橡皮"),
    "size": ("Size", "大小"),
    "undo": ("Undo", "撤销"),
    "reset": ("Back to the photo", "恢复原图"),
    "turn": ("Turn", "旋转"),
    "blur": ("Blur", "模糊"),
    "light": ("Brightness", "亮度"),
    "quality": ("JPEG quality", "JPEG 质量"),
    "whole": ("uncompressed", "不压缩"),
    "start": ("Paint over a part or move a slider: the bars follow.", "涂抹一部分或移动滑块，条形会随之变化。"),
    "same": ("“{label}” stays at {now}.", "“{label}”仍为 {now}。"),
    "fell": ("“{label}” fell from {before} to {now}.", "“{label}”从 {before} 降到 {now}。"),
    "rose": ("“{label}” rose from {before} to {now}.", "“{label}”从 {before} 升到 {now}。"),
    "other": ("Now the answer is “{label}”, {now}.", "现在的答案是“{label}”，{now}。"),
    "unknown": ("The network no longer knows what this is.", "网络不再认识这是什么。"),
    "mark": ("The line on a bar marks the photo without changes.", "条形上的竖线表示未改动的照片。"),
    "lost": ("The app does not answer; is it still running?", "应用没有回应，它还在运行吗？"),
}
