"""Words of how sure an answer is and when it is refused. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "sure_panel": ("How sure it is, and when it refuses", "它有多确定，何时拒绝回答"),
    "sure_threshold": ("Refuse what looks less known than", "熟悉度低于此值则拒绝"),
    "sure_threshold_info": (
        "0: answers everything; 100: refuses everything. Only for you: here, in “What if …” and in “Many”.",
        "0：什么都回答；100：全部拒绝。仅对您有效：此处、“如果……”和“多张”。",
    ),
    "sure_reset": ("Back to the model's own value", "恢复模型自带的值"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "sure_right": (
        "answers {low} to {high} % sure are right {times} times out of {of}",
        "把握在 {low}% 到 {high}% 之间的回答，{of} 次中有 {times} 次正确",
    ),
    "sure_right_always": (
        "all its answers to {of} pictures kept back that were {low} to {high} % sure were right",
        "对 {of} 张未用于训练的图片给出的把握在 {low}% 到 {high}% 之间的回答全部正确",
    ),
    "sure_score": (
        "looks known: {score} of 100; below {threshold} the answer is refused",
        "熟悉度：{score}（满分 100）；低于 {threshold} 则拒绝回答",
    ),
    "sure_cost": (
        "Refuses {refused} of real photos of its classes; lets {through} of pictures of other things through.",
        "拒绝 {refused} 的本类真实照片；放过 {through} 的其他图片。",
    ),
    "sure_cost_known": ("Refuses {refused} of real photos of its classes.", "拒绝 {refused} 的本类真实照片。"),
    "sure_cost_missing": ("What this costs was never measured for this model.", "此模型尚未测量该阈值的代价。"),
    "sure_never": ("This model never refuses: it has no score for that.", "此模型从不拒绝：它没有相应的评分。"),
    "sure_title": ("Is it right as often as it claims?", "它声称的把握与实际相符吗？"),
    "sure_off": (
        "On {count} pictures kept back its sureness is off by {off} points on average (expected calibration error).",
        "在 {count} 张未用于训练的图片上，其把握平均偏差 {off} 个百分点（期望校准误差）。",
    ),
    "sure_axis_said": ("how sure it said it was", "声称的把握"),
    "sure_axis_right": ("how often it was right", "实际正确率"),
    "sure_dot": (
        "{said} sure: right {right} of the time ({count} pictures)",
        "把握 {said}：正确率 {right}（{count} 张）",
    ),
    "sure_hint": (
        "Dots on the line: right as often as it says. Above it: too modest; below it: too sure. "
        "Larger dots stand for more pictures.",
        "点在线上：与声称相符；线上方：过于保守；线下方：过于自信。点越大代表图片越多。",
    ),
    "sure_no_diagram": ("How reliable its sureness is was never measured for this model.", "此模型的可靠性尚未测量。"),
}
