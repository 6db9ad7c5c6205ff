"""Words of the Channel, Where and Compare parts of the Feature maps tab. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "detective_pictures": ("Which pictures", "查看哪些图片"),
    "detective_own_val": ("The model's val pictures", "模型的验证图片"),
    "detective_own_train": ("Its train pictures (up to 1,000)", "模型的训练图片（最多 1,000 张）"),
    "detective_rendered": ("Rendered flowers", "绘制的花"),
    "detective_start": ("Find what excites this channel", "找出激活此通道的图片"),
    "detective_stop": ("Stop", "停止"),
    "detective_accuracy": (
        "Count right answers without it (200 val pictures)",
        "统计去掉它后的正确率（200 张验证图片）",
    ),
    "detective_epochs": ("Show it in the epochs the run kept", "显示它在已保存轮次中的样子"),
    "where_method": ("Method", "方法"),
    "where_gradcam": ("Grad-CAM", "Grad-CAM（梯度）"),
    "where_ablation": ("Ablation-CAM (no gradient)", "Ablation-CAM（无梯度）"),
    "where_for": ("What speaks for", "支持哪一类"),
    "where_against": ("and not for", "而不是"),
    "where_strength": ("Strength of the colours (%)", "颜色强度（%）"),
    "where_trust": ("Can this map be trusted?", "这张图可信吗？"),
    "compare_mode": ("Put side by side", "并排比较"),
    "compare_models": ("Two models", "两个模型"),
    "compare_epochs": ("Two epochs of a run", "同一训练的两个轮次"),
    "compare_photos": ("Two photos", "两张照片"),
    "compare_other_model": ("The other model", "另一个模型"),
    "compare_first_epoch": ("Epoch on the left", "左侧轮次"),
    "compare_second_epoch": ("Epoch on the right", "右侧轮次"),
    "compare_other_photo": ("The other photo", "另一张照片"),
    "compare_cka": ("How alike are the layers over 100 pictures?", "在 100 张图片上，这两层有多相似？"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "detective_no_photo": (
        "Choose or drop a photo; then this shows what the channel makes of it.",
        "选择或放入一张照片，这里会显示该通道对它的反应。",
    ),
    "detective_title": ("{layer} · channel {channel} of 0–{last}", "{layer} · 通道 {channel}（共 0–{last}）"),
    "detective_stats": (
        "mean {mean} · spread {std} · {minimum} to {maximum} · {zero} zeros",
        "均值 {mean} · 标准差 {std} · {minimum} 至 {maximum} · {zero} 为零",
    ),
    "detective_flat": (
        "On this photo the channel gives the same number everywhere.",
        "在这张照片上，该通道处处给出相同的数值。",
    ),
    "detective_without": ("Without this channel", "去掉此通道后"),
    "detective_same": (
        "Set to zero, it changes nothing: “{label}” stays at {before}.",
        "将它置零没有影响：“{label}”仍为 {before}。",
    ),
    "detective_falls": (
        "Set to zero, “{label}” falls from {before} to {after}.",
        "将它置零后，“{label}”从 {before} 降到 {after}。",
    ),
    "detective_rises": (
        "Set to zero, “{label}” rises from {before} to {after}.",
        "将它置零后，“{label}”从 {before} 升到 {after}。",
    ),
    "detective_turns": (
        "Set to zero, the answer turns from “{label}” ({before}) to “{other}” ({after}).",
        "将它置零后，答案从“{label}”（{before}）变为“{other}”（{after}）。",
    ),
    "detective_as_is": ("as it is", "原样"),
    "detective_at_zero": ("at 0", "置零"),
    "detective_at_mean": ("at its mean ({mean})", "置为均值（{mean}）"),
    "detective_mean_later": (
        "Its mean is known once the pictures below have been looked through.",
        "查看下面的图片之后即可得知它的均值。",
    ),
    "detective_accuracy_line": (
        "Of {count} val pictures of {dataset}, {before} are answered right; with the channel at zero, {after} "
        "({change} points).",
        "在 {dataset} 的 {count} 张验证图片上，正确率为 {before}；该通道置零后为 {after}（{change} 个百分点）。",
    ),
    "detective_hint": (
        "All channels of this layer are scored in one pass; another channel then costs nothing.",
        "一次即可给该层所有通道评分；之后查看其他通道无需再等。",
    ),
    "detective_reading": ("Reading the pictures", "正在读取图片"),
    "detective_looking": ("Looking through the pictures", "正在查看图片"),
    "detective_unit": ("pictures", "张图片"),
    "detective_patches": (
        "What excited channel {channel} of {layer} most, in {count} pictures of {dataset}",
        "{dataset} 的 {count} 张图片中，最能激活 {layer} 通道 {channel} 的部分",
    ),
    "detective_patches_how": (
        "Each is what the unit at the strongest place can see: {height}×{width} px of the {crop}×{crop} the network "
        "looks at; grey lies beyond the picture's border.",
        "每一块是最强位置的单元能看到的区域：网络所见 {crop}×{crop} 像素中的 {height}×{width} 像素；"
        "灰色部分在图片之外。",
    ),
    "detective_classes": (
        "Of the {tops} pictures that excite it most, {share} are “{label}” ({chance} of all pictures are).",
        "最能激活它的 {tops} 张图片中，{share} 是“{label}”（所有图片中占 {chance}）。",
    ),
    "detective_mark": (
        "Bar: share among those {tops}; line: share among all pictures; number: the channel's mean on the class.",
        "条形：在这 {tops} 张中的占比；竖线：在所有图片中的占比；数字：该类别上的均值。",
    ),
    "detective_silent": (
        "Channel {channel} of {layer} is silent: it gave {value} everywhere in all {count} pictures of {dataset}.",
        "{layer} 的通道 {channel} 没有反应：在 {dataset} 的全部 {count} 张图片中处处为 {value}。",
    ),
    "detective_download": ("Save the patches (PNG)", "保存图块（PNG）"),
    "detective_no_run": (
        "Only runs keep epochs, and this model is none; choose a run trained here.",
        "只有训练会保存轮次，而此模型不是；请选择在这里训练的模型。",
    ),
    "detective_no_epochs": (
        "This run kept no epochs, so there is nothing to look back on.",
        "此训练没有保存任何轮次，因此无法回看。",
    ),
    "detective_epochs_title": (
        "Channel {channel} of {layer} on this photo, epoch by epoch",
        "{layer} 的通道 {channel} 在这张照片上逐轮的变化",
    ),
    "detective_epochs_scale": (
        "One colour scale for all: {low} is darkest, {high} brightest.",
        "所有图使用同一色标：{low} 最暗，{high} 最亮。",
    ),
    "detective_epoch": ("epoch {epoch}", "第 {epoch} 轮"),
    "where_no_photo": (
        "Choose or drop a photo; then this shows where the network looked.",
        "选择或放入一张照片，这里会显示网络关注的地方。",
    ),
    "where_none": ("(none)", "（无）"),
    "where_heat_title": ("What speaks for “{label}” at {layer}", "{layer} 处支持“{label}”的地方"),
    "where_heat": (
        "The brighter a place, the more it speaks for “{label}”.",
        "越亮的地方越支持“{label}”。",
    ),
    "where_empty": (
        "No place speaks for “{label}” at {layer}: the network sees nothing of it here.",
        "{layer} 处没有支持“{label}”的地方：网络在这里没有看到它。",
    ),
    "where_used": (
        "{used} of the {channels} channels were taken away one by one, the strongest.",
        "逐一去掉了 {channels} 个通道中最强的 {used} 个。",
    ),
    "where_contrast_title": ("“{label}” and not “{other}” at {layer}", "{layer} 处：“{label}”而不是“{other}”"),
    "where_contrast": (
        "Orange speaks for “{label}”, blue for “{other}”; what is clear says nothing. Always by gradient.",
        "橙色支持“{label}”，蓝色支持“{other}”，没有颜色的地方两边都不偏。始终使用梯度方法。",
    ),
    "where_little": ("little", "弱"),
    "where_much": ("much", "强"),
    "where_unasked": (
        "A heat map is drawn for any network, even one that knows nothing. The test takes a few seconds, of "
        "a very deep network minutes; choosing something else stops it.",
        "任何网络都能画出热力图，哪怕它什么都不懂。测试需要几秒，很深的网络需要几分钟；改选别的内容即可停止。",
    ),
    "where_trusted": ("This map passed both tests.", "这张图通过了两项测试。"),
    "where_distrusted": ("Do not trust this map.", "不要相信这张图。"),
    "where_reason_empty": (
        "It is empty: no place speaks for “{label}” at this layer.",
        "它是空的：该层没有支持“{label}”的地方。",
    ),
    "where_reason_unclear": (
        "The test came upon numbers that are none, in this network or in one with random weights, so it "
        "proves nothing.",
        "测试中出现了无效数值（来自该网络或权重随机的网络），因此无法证明任何事情。",
    ),
    "where_reason_survives": (
        "It hardly changes when all weights are random ({likeness} alike, where 1 is the same), so it does not show "
        "what the network has learned.",
        "即使所有权重都换成随机值，它也几乎不变（相似度 {likeness}，1 为相同），因此它没有反映网络学到的东西。",
    ),
    "where_reason_chance": (
        "Covering its brightest places costs “{label}” no more than covering places at random, so the answer does not "
        "hang on them.",
        "遮住最亮的地方与随机遮挡相比，并没有让“{label}”降低更多，因此答案并不依赖这些地方。",
    ),
    "where_why_trusted": (
        "With all weights random it is another map ({likeness} alike, where 1 is the same), and covering its "
        "brightest places loses “{label}” sooner than covering places at random.",
        "权重全部随机后它变成了另一张图（相似度 {likeness}，1 为相同），"
        "并且遮住最亮的地方比随机遮挡更快失去“{label}”。",
    ),
    "where_reason_untaught": (
        "Networks with random weights do as well when their brightest places are covered, so this says nothing about "
        "what was learned.",
        "随机权重的网络在遮挡测试中也同样好，因此通过它并不能说明这个网络。",
    ),
    "where_cascade": (
        "Fresh random weights, part after part from the head down",
        "从头部开始，逐部分换成随机权重",
    ),
    "where_cascade_how": (
        "Rank correlation with the first map, the last one the mean of {draws} draws; 1 is the same order of places, 0 "
        "is another.",
        "与第一张图的秩相关，最后一个是 {draws} 次随机的平均；1 表示顺序相同，0 表示完全不同。",
    ),
    "where_original": ("as trained", "训练后"),
    "where_and_above": ("{part} and above", "{part} 及之后"),
    "where_deletion": ("Covering the photo, place by place", "逐步遮住照片"),
    "where_deletion_how": (
        "How much of “{label}” is left: brightest places first (area {area}), and in {orders} random orders "
        "(area {chance} ± {spread}). The smaller the area, the better the map.",
        "“{label}”还剩多少：先遮最亮处（面积 {area}），以及 {orders} 次随机顺序（面积 {chance} ± {spread}）。"
        "面积越小，图越好。",
    ),
    "where_deletion_axis": ("share of the photo covered", "照片被遮住的比例"),
    "where_deletion_map": ("brightest first", "先遮最亮处"),
    "where_deletion_random": ("random orders", "随机顺序"),
    "compare_no_photo": (
        "Choose or drop a photo; then two models, epochs or photos stand side by side here.",
        "选择或放入一张照片，这里会并排比较两个模型、轮次或照片。",
    ),
    "compare_no_other_photo": ("Drop the other photo above.", "在上方放入另一张照片。"),
    "compare_no_other_model": (
        "There is no other model yet; train one, or bring one in.",
        "还没有其他模型，请训练或导入一个。",
    ),
    "compare_no_layer": (
        "The other model has no layer called {layer}; choose a layer that both have.",
        "另一个模型没有名为 {layer} 的层；请选择两者都有的层。",
    ),
    "compare_says": ("{title}: “{label}”, {share}", "{title}：“{label}”，{share}"),
    "compare_epoch": ("epoch {epoch}", "第 {epoch} 轮"),
    "compare_left_photo": ("photo on the left", "左侧照片"),
    "compare_right_photo": ("photo on the right", "右侧照片"),
    "compare_channels": (
        "Channels {first}–{last} of {layer}, each in the colours of both sides together.",
        "{layer} 的通道 {first}–{last}，每个通道两侧使用同一色标。",
    ),
    "compare_channels_apart": (
        "Channels {first}–{last} of {layer}; the two networks differ in shape, so each side has its own colours.",
        "{layer} 的通道 {first}–{last}；两个网络形状不同，因此各用各的色标。",
    ),
    "compare_not_matching": (
        "A channel of one network has nothing to do with the same number in another.",
        "不同网络中相同编号的通道彼此无关。",
    ),
    "compare_alike": (
        "Channel by channel, the two epochs' maps of this photo correlate {median} in the middle; most changed: "
        "{changed}; most alike: {alike}.",
        "这张照片上两个轮次逐通道的相关系数中位数为 {median}；变化最大：{changed}；最相似：{alike}。",
    ),
    "compare_alike_flat": ("{count} channels are flat in one of the two.", "有 {count} 个通道在其中一侧没有变化。"),
    "compare_one": ("{channel} ({value})", "{channel}（{value}）"),
    "compare_cka_line": (
        "Linear CKA of {layer} over {count} pictures of {dataset}: {value}. 1: the same up to rotation, 0: unrelated.",
        "{layer} 在 {dataset} 的 {count} 张图片上的线性 CKA：{value}。1：除旋转外相同；0：无关。",
    ),
    "compare_cka_flat": (
        "One of the two layers gives the same for all pictures, so they cannot be compared.",
        "其中一层对所有图片的输出都相同，因此无法比较。",
    ),
}

# shown by the map one can walk over and by the slider; the page fills in the blanks
CHANNEL_MAP: dict[str, tuple[str, str]] = {
    "map": (
        "The channel's map, place by place",
        "通道图的各个位置",
    ),
    "photo": ("What the network sees of the photo", "网络看到的照片"),
    "place": (
        "Row {row}, column {column}: {value}. It sees {height}×{width} px of the photo.",
        "第 {row} 行，第 {column} 列：{value}。它能看到照片的 {height}×{width} 像素。",
    ),
    "whole": ("One number for the whole photo: {value}.", "整张照片一个数：{value}。"),
    "peak": (
        "At first the frame is at the strongest place; point at another, or walk with the arrow keys.",
        "方框起初在最强的位置；可指向其他位置，或用方向键移动。",
    ),
}

SLIDER: dict[str, tuple[str, str]] = {
    "handle": ("How much of each side is shown", "两侧各显示多少"),
    "hint": ("Drag the line, or use the arrow keys.", "拖动分界线，或使用方向键。"),
}
