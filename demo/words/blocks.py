"""Words of the map of the network, of the inside of a block and of the arithmetic. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "blocks_scale": ("Colour scale", "颜色标尺"),
    "blocks_scale_shared": ("one colour scale for all four", "四幅共用一个颜色标尺"),
    "blocks_scale_channel": ("each channel its own", "每个通道用自己的标尺"),
    "blocks_identity": ("x, what comes in", "x，输入"),
    "blocks_branch": ("F(x), what the branch adds", "F(x)，分支的输出"),
    "blocks_total": ("x + F(x), the sum", "x + F(x)，两者之和"),
    "blocks_output": ("after ReLU, what leaves", "ReLU 之后，输出"),
    "blocks_count": ("Count on 200 val pictures", "在 200 张验证图片上计算"),
    "blocks_cancel": ("Cancel", "取消"),
    "blocks_twin_title": ("Plain twin: the same network without skips", "无残差的对照网络"),
    "blocks_twin": ("Compare with", "与之比较"),
    "blocks_twin_none": ("no run chosen", "未选择训练"),
    "blocks_command": ("Train the twin with", "训练对照网络的命令"),
    "arithmetic_title": ("The arithmetic behind one number", "一个数值背后的算式"),
    "arithmetic_row": ("Row", "行"),
    "arithmetic_column": ("Column", "列"),
    "arithmetic_page": ("Page of input channels", "输入通道页"),
    "arithmetic_map": ("Click a place of the map", "点击图中的位置"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "blocks_no_photo": (
        "Drop a photo on the left to see what each residual block makes of it.",
        "在左侧放入一张照片，查看每个残差块对它做了什么。",
    ),
    "blocks_none": (
        "This network has no residual blocks; choose another model.",
        "这个网络没有残差块，请选择其他模型。",
    ),
    "blocks_plain": (
        "{block} is a plain block: it has no skip, so its sum is the branch alone.",
        "{block} 是普通块：没有残差连接，输出只有分支。",
    ),
    "blocks_facts": (
        "{block} changes its input by ‖F(x)‖ / ‖x‖ = {ratio:.2f} for this photo.",
        "对这张照片，{block} 的 ‖F(x)‖ / ‖x‖ = {ratio:.2f}。",
    ),
    "blocks_range": ("{low:.3g} to {high:.3g} · norm {norm:.3g}", "{low:.3g} 至 {high:.3g} · 范数 {norm:.3g}"),
    "blocks_left_out": ("left out of the sum", "未计入总和"),
    "blocks_channel": ("channel {channel} of {total}", "通道 {channel}，共 {total} 个"),
    "blocks_no_skip": ("a plain block has no skip", "普通块没有残差连接"),
    "blocks_page": (
        "The sheets show the channels {first} to {last}; blue is below zero, orange above.",
        "图中为通道 {first} 至 {last}；蓝色小于零，橙色大于零。",
    ),
    "blocks_whole": (
        "The whole network says “{label}”, {share:.1%}. Switch something off above.",
        "完整的网络回答“{label}”，{share:.1%}。可在上方关闭某些部分。",
    ),
    "blocks_same": (
        "Without {what} the answer stays “{label}”: {before:.1%} before, {after:.1%} now.",
        "去掉{what}，答案仍是“{label}”：之前 {before:.1%}，现在 {after:.1%}。",
    ),
    "blocks_other": (
        "Without {what} the answer changes from “{label}” ({before:.1%}) to “{other}” ({after:.1%}).",
        "去掉{what}，答案从“{label}”（{before:.1%}）变为“{other}”（{after:.1%}）。",
    ),
    "blocks_what_branch": ("F(x) of {names}", "{names} 的 F(x)"),
    "blocks_what_skip": ("the skip of {names}", "{names} 的残差连接"),
    "blocks_what_and": ("{first} and {second}", "{first}和{second}"),
    "blocks_what_many": ("{first} and {count} more", "{first} 等 {count} 处"),
    "blocks_mark": ("The line on a bar marks the whole network.", "条形上的竖线表示完整的网络。"),
    "blocks_counting": (
        "{done} of {total} pictures: {before:.1%} right with the whole network, {after:.1%} without {what}.",
        "{done} / {total} 张图片：完整网络正确率 {before:.1%}，去掉{what}后 {after:.1%}。",
    ),
    "blocks_counted": (
        "On {total} val pictures of {dataset}: {before:.1%} right with the whole network, {after:.1%} without {what}.",
        "在 {dataset} 的 {total} 张验证图片上：完整网络正确率 {before:.1%}，去掉{what}后 {after:.1%}。",
    ),
    "blocks_stand_in": (
        "The photos this model learned from are not on this machine, so these are flowers that this project drew.",
        "此模型的训练照片不在这台机器上，因此这里用的是本项目绘制的花。",
    ),
    "blocks_nothing_off": (
        "Switch something off first; then this counts what it costs.",
        "请先关闭某些部分，再计算其代价。",
    ),
    "blocks_reading": ("Reading the pictures …", "正在读取图片……"),
    "blocks_cancelled": ("Stopped.", "已停止。"),
    "blocks_twin_no_runs": (
        "There is no run of a plain network yet. Train one: in the Train tab switch off “Skip connections” under More, "
        "or use the command below; everything else as in the run you compare with. Then choose it here.",
        "还没有无残差网络的训练。请训练一个：在“训练”页的“更多”中关闭“残差连接”，或使用下面的命令，其余设置保持相同，然后在此选择。",
    ),
    "blocks_twin_choose": (
        "Choose the run to compare with; runs of plain networks come first.",
        "请选择要比较的训练，无残差的排在前面。",
    ),
    "blocks_twin_differ": (
        "The two were not trained alike ({what}), so what differs is not the skips alone.",
        "两次训练的设置不同（{what}），因此差别不只来自残差连接。",
    ),
    "blocks_twin_alike": (
        "Both were trained with the same settings but for the skips.",
        "除残差连接外，两次训练的设置相同。",
    ),
    "blocks_twin_not_plain": (
        "The run chosen has skips as well: this compares two residual networks.",
        "所选训练也有残差连接：这里比较的是两个残差网络。",
    ),
    "blocks_twin_gradient": ("Gradient at each block (root mean square)", "各块处的梯度（均方根）"),
    "blocks_twin_activation": ("Activation of each block (root mean square)", "各块的激活（均方根）"),
    "blocks_twin_accuracy": ("Val accuracy by epoch", "各轮的验证准确率"),
    "blocks_twin_no_curve": (
        "Only runs have curves; “{model}” was not trained here.",
        "只有训练记录才有曲线；“{model}”不是在这里训练的。",
    ),
    "blocks_twin_depth": (
        "For this photo: from the first block to its last the gradient of the loss changes {one:.3g}-fold in “{first}” "
        "and {two:.3g}-fold in “{second}”.",
        "对这张照片，从最后一块回到第一块，“{first}”的梯度变为 {one:.3g} 倍，“{second}”的变为 {two:.3g} 倍。",
    ),
    "arithmetic_no_photo": (
        "Drop a photo on the left; then every number of the map can be worked out here.",
        "在左侧放入一张照片，即可在此逐步算出图中的每个数值。",
    ),
    "arithmetic_where": (
        "Channel {channel}, row {row}, column {column} of {layer} ({shape})",
        "{layer}（{shape}）的通道 {channel}、第 {row} 行、第 {column} 列",
    ),
    "arithmetic_window": (
        "It sees rows {top} to {bottom} and columns {left} to {right} of what comes in ({channels} channels).",
        "它看到输入（{channels} 个通道）的第 {top} 至 {bottom} 行、第 {left} 至 {right} 列。",
    ),
    "arithmetic_padding": (
        "{count} of its places lie over the border and count as zero.",
        "其中 {count} 个位置超出边界，按零计算。",
    ),
    "arithmetic_channel": ("input channel {channel}: {sum}", "输入通道 {channel}：{sum}"),
    "arithmetic_value": ("input {place}", "输入 {place}"),
    "arithmetic_largest": (
        "Input channels {first} to {last} of {total}, the largest sums first; all of them are in the sum below.",
        "输入通道按其和的大小排列，第 {first} 至 {last} 个，共 {total} 个；下面的总和包含全部。",
    ),
    "arithmetic_in": ("input", "输入"),
    "arithmetic_kernel": ("kernel", "卷积核"),
    "arithmetic_product": ("product", "乘积"),
    "arithmetic_sum": ("sum of all {count} products", "全部 {count} 个乘积之和"),
    "arithmetic_bias": ("bias", "偏置"),
    "arithmetic_result": ("what comes out", "结果"),
    "arithmetic_agrees": (
        "The network itself computed {value}; the difference is {difference}.",
        "网络自己算出的是 {value}，相差 {difference}。",
    ),
    "arithmetic_bn": (
        "BatchNorm: (x − mean) / √(variance + ε) · scale + shift",
        "BatchNorm：(x − 均值) / √(方差 + ε) · 缩放 + 偏移",
    ),
    "arithmetic_relu": ("ReLU: what is below zero becomes zero", "ReLU：小于零的变为零"),
    "arithmetic_max": ("Max-pool: the largest of the window", "最大池化：窗口中的最大值"),
    "arithmetic_average": ("Average over all {count} places of the channel", "对该通道全部 {count} 个位置取平均"),
    "arithmetic_same": ("This layer hands on what comes in.", "该层原样传递输入。"),
    "arithmetic_padded": (
        "A shortcut without weights: every second place, and zeros for the channels that are new.",
        "没有权重的捷径：每隔一个位置取值，新增的通道为零。",
    ),
    "arithmetic_block": ("The end of the block: ReLU(x + F(x))", "残差块的末尾：ReLU(x + F(x))"),
    "arithmetic_block_plain": ("The end of the plain block: ReLU(F(x))", "普通块的末尾：ReLU(F(x))"),
    "arithmetic_stage": (
        "{layer} is a row of layers; its numbers are those of the last one, {last}.",
        "{layer} 由多层组成，它的数值就是最后一层 {last} 的数值。",
    ),
}

# the map of the network; the page fills in the blanks
MAP_WORDS: dict[str, tuple[str, str]] = {
    "map": ("Map of the network", "网络地图"),
    "drawing": ("Drawing the network …", "正在绘制网络……"),
    "hint": ("Point at a box for its numbers; click it to look inside.", "指向方框查看数字，点击查看内部。"),
    "hint_drawn": (
        "Point at a box for its numbers. This network is only drawn; to look inside one, open a model on the left.",
        "指向方框查看数字。此网络仅供绘制；要查看内部，请在左侧打开一个模型。",
    ),
    "size": ("Picture, px", "图片边长（像素）"),
    "drawn": ("Drawn", "显示"),
    "unpooled": ("without pooling", "去掉池化"),
    "opened": ("the opened model", "打开的模型"),
    "networks": ("Networks", "网络"),
    "plain_twins": ("Plain twins", "无残差的对照网络"),
    "plain": ("plain", "无残差"),
    "published": ("as published", "原文版本"),
    "totals": ("· {parameters} parameters · {macs} MACs", "· {parameters} 参数 · {macs} MACs"),
    "totals_fault": (
        "· {parameters} parameters · does not fit this picture",
        "· {parameters} 参数 · 不适合这个图片尺寸",
    ),
    "stem": ("stem", "输入段"),
    "head": ("head", "输出段"),
    "parameters": ("{n} parameters", "{n} 个参数"),
    "macs": ("{n} MACs ({share}%)", "{n} MACs（{share}%）"),
    "no_macs": ("no MACs", "无 MACs"),
    "unreached": ("no picture gets here", "图片到不了这里"),
    "skip.none": ("no skip", "没有残差连接"),
    "skip.identity": ("skip: x as it is", "残差连接：x 原样"),
    "skip.1×1": ("skip: 1×1 convolution", "残差连接：1×1 卷积"),
    "skip.padded": ("skip: x thinned, padded with zeros", "残差连接：x 隔点取样、补零"),
    "which": ("block {first} to {last}:", "第 {first} 至 {last} 块："),
    "x": ("x", "x"),
    "lost": ("The app does not answer; is it still running?", "应用没有回应，它还在运行吗？"),
}

# the switches below the bars
SWITCH_WORDS: dict[str, tuple[str, str]] = {
    "title": (
        "How much each block changes its input, ‖F(x)‖ / ‖x‖; tick what it shall do without",
        "每个块对输入的改变 ‖F(x)‖ / ‖x‖；勾选即关闭",
    ),
    "choose": ("{block}: ‖F(x)‖ / ‖x‖ = {ratio}", "{block}：‖F(x)‖ / ‖x‖ = {ratio}"),
    "branch": ("without F(x)", "去掉 F(x)"),
    "skip": ("without the skip", "去掉残差连接"),
    "of": ("{what}: {block}", "{what}：{block}"),
    "all_on": ("All on again", "全部恢复"),
    "empty": ("Drop a photo on the left to see the blocks.", "在左侧放入一张照片以查看残差块。"),
    "plain": ("This is a plain network: there is no skip to switch off.", "这是无残差的网络：没有可关闭的残差连接。"),
}
