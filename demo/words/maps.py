"""Words of the Feature maps tab: its parts, and what the Layers part shows. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "maps_part_layers": ("Layers", "层"),
    "maps_part_block": ("Block", "残差块"),
    "maps_part_channel": ("Channel", "通道"),
    "maps_part_where": ("Where", "关注区域"),
    "maps_part_compare": ("Compare", "比较"),
    "maps_colors": ("Colours", "配色"),
    "maps_colors_auto": ("automatic", "自动"),
    "maps_colors_viridis": ("violet to yellow (viridis)", "紫到黄（viridis）"),
    "maps_colors_cividis": ("blue to yellow (cividis)", "蓝到黄（cividis）"),
    "maps_colors_magma": ("black to cream (magma)", "黑到米色（magma）"),
    "maps_colors_grey": ("black to white", "黑到白"),
    "maps_colors_signed": ("blue – zero – orange", "蓝 – 零 – 橙"),
    "maps_order": ("Order", "顺序"),
    "maps_order_index": ("by number", "按编号"),
    "maps_order_strength": ("strongest first", "最强的在前"),
    "maps_order_relevance": ("for a class", "对某一类的贡献"),
    "maps_label": ("Class", "类别"),
    "maps_label_answer": ("the answer", "网络的答案"),
    "maps_relu": ("Side of the ReLU", "ReLU 的哪一侧"),
    "maps_relu_given": ("as given", "原样输出"),
    "maps_relu_before": ("before ReLU", "ReLU 之前"),
    "maps_relu_after": ("after ReLU", "ReLU 之后"),
    "maps_kernels": ("Kernels: the weights of this layer", "卷积核：该层的权重"),
    "maps_kernel_picture": ("Kernels as a picture", "卷积核图像"),
    "maps_incoming": ("Incoming channel", "输入通道"),
    "maps_take": ("Take it away", "下载"),
    "maps_take_png": ("All channels (.png)", "全部通道 (.png)"),
    "maps_take_npz": ("The numbers (.npz)", "数值 (.npz)"),
    "maps_take_webp": ("From pixels to answer (.webp)", "从像素到答案 (.webp)"),
    "maps_take_hint": (
        "The .npz opens with numpy alone: the layer's numbers, the names, how the photo was prepared.",
        ".npz 只需 numpy 即可打开：包含该层的数值、名称以及照片的预处理方式。",
    ),
    "maps_dead": ("Dead channels, on 200 val pictures", "失活通道（200 张验证图片）"),
    "maps_dead_go": ("Look for channels that are dead on 200 val pictures", "在 200 张验证图片上查找失活通道"),
    "maps_table": ("All layers as a table", "所有层的表格"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "maps_before": ("{layer}, before ReLU", "{layer}（ReLU 之前）"),
    "maps_after": ("{layer}, after ReLU", "{layer}（ReLU 之后）"),
    "maps_after_computed": (
        "A ReLU follows {layer}; its result was computed here from what {layer} gives.",
        "{layer} 之后是 ReLU；这里由 {layer} 的输出计算得到。",
    ),
    "maps_before_how": (
        "What the last ReLU in {layer} received: nothing is cut off below zero yet.",
        "{layer} 中最后一个 ReLU 的输入：负值尚未被截断。",
    ),
    "maps_relu_none": (
        "No ReLU stands right behind {layer}, so it is shown as it is.",
        "{layer} 之后没有直接的 ReLU，因此按原样显示。",
    ),
    "maps_dead_photo": (
        "Dead on this photo, never above zero: {count} of {total} channels (crossed out): {which}",
        "在这张照片上失活（从不大于零）：{total} 个通道中的 {count} 个（已划线）：{which}",
    ),
    "maps_dead_one": ("Dead on this photo: never above zero.", "在这张照片上失活：从不大于零。"),
    "maps_alive": ("No channel is dead on this photo.", "这张照片上没有失活的通道。"),
    "maps_dead_all": (
        "{layer}: {count} of {total} channels are dead on all of {pictures} val pictures of {dataset}: {which}",
        "{layer}：{total} 个通道中有 {count} 个在 {dataset} 的全部 {pictures} 张验证图片上失活：{which}",
    ),
    "maps_dead_none": (
        "{layer}: each of the {total} channels rises above zero on at least one of {pictures} val pictures of "
        "{dataset}.",
        "{layer}：{total} 个通道中的每一个都在 {dataset} 的 {pictures} 张验证图片中的至少一张上大于零。",
    ),
    "maps_dead_meaningless": (
        "{layer} may be negative and still speak: no ReLU stands right behind it. Choose a ReLU, a batch norm or a "
        "block.",
        "{layer} 之后没有直接的 ReLU，负值也有意义。请选择 ReLU、批归一化或残差块。",
    ),
    "maps_dead_reading": ("Asking val pictures", "正在询问验证图片"),
    "maps_pictures": ("pictures", "张图片"),
    "maps_field": (
        "A place sees {height}×{width} px of the photo's {size}×{size}.",
        "每个位置能看到照片 {size}×{size} 像素中的 {height}×{width}。",
    ),
    "maps_field_all": (
        "The photo ({size}×{size} px for the network) is smaller than what a place can see ({height}×{width} px).",
        "照片（网络看到 {size}×{size} 像素）比一个位置能看到的范围（{height}×{width} 像素）还小。",
    ),
    "maps_relevance": (
        "By what each adds to “{label}” (gradient × activation): channel {first} the most ({most:+.2g}), "
        "{last} the least ({least:+.2g}).",
        "按对“{label}”的贡献排序（梯度 × 激活）：通道 {first} 最多（{most:+.2g}），{last} 最少（{least:+.2g}）。",
    ),
    "maps_the_answer": ("the answer", "网络的答案"),
    "maps_scale_below": ("below zero", "小于零"),
    "maps_scale_above": ("above zero", "大于零"),
    "maps_scale_own_low": ("its least", "各自最小"),
    "maps_scale_own_high": ("its largest", "各自最大"),
    "maps_histogram": (
        "Histogram of {count} numbers from {low:.3g} to {high:.3g}; the heights are logarithmic.",
        "{count} 个数值的直方图，从 {low:.3g} 到 {high:.3g}；高度为对数。",
    ),
    "maps_histogram_bar": ("{low:.3g} to {high:.3g}: {count}", "{low:.3g} 至 {high:.3g}：{count}"),
    "maps_sheet_alt": (
        "What {layer} makes of the photo: {count} maps in {rows} rows of {columns}, from channel {first} to {last}.",
        "{layer} 对照片的响应：{count} 张特征图，{rows} 行，每行 {columns} 张，从通道 {first} 到 {last}。",
    ),
    "maps_channel_alt": ("Channel {channel} of {layer}, enlarged.", "{layer} 的通道 {channel}，已放大。"),
    "maps_kernel_none": (
        "{layer} has no weights of its own that could be shown; choose a convolution or fc.",
        "{layer} 没有可显示的权重；请选择卷积层或 fc。",
    ),
    "maps_kernel_colors": (
        "{count} kernels of {layer}, {height}×{width} px, in the colours they look for; grey is zero.",
        "{layer} 的 {count} 个卷积核，{height}×{width} 像素，以其寻找的颜色显示；灰色为零。",
    ),
    "maps_kernel_incoming": (
        "How channel {channel} of {layer} weighs its {count} incoming channels: orange adds, blue takes away.",
        "{layer} 的通道 {channel} 如何加权 {count} 个输入通道：橙色为正，蓝色为负。",
    ),
    "maps_kernel_shown": (
        "Drawn are those of channels {first} to {last}; another number of the incoming channel brings the others.",
        "图中为通道 {first} 至 {last} 的卷积核；更改输入通道编号可查看其余部分。",
    ),
    "maps_kernel_numbers": (
        "Channel {channel}, incoming channel {incoming} of {count}:",
        "通道 {channel}，输入通道 {incoming}（共 {count} 个）：",
    ),
    "maps_kernel_row": (
        "Channel {channel}: weights {first} to {last} of {count}:",
        "通道 {channel}：第 {first} 至 {last} 个权重，共 {count} 个：",
    ),
    "maps_kernel_bias": ("and {bias:+.4g} is added", "再加上 {bias:+.4g}"),
    "maps_take_no_photo": ("Drop a photo first.", "请先放入一张照片。"),
    "maps_take_ready": ("Download {name} ({size})", "下载 {name}（{size}）"),
}
