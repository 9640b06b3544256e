r"""Words and wrappers around a number: what makes another number of it, or none.

    plain("１８\u200b")                             # "18"
    unwrapped(r"\text{Total: } \$9{,}500")         # "Total:  $9,500"

`unwrapped` takes a number out of Unicode's look-alikes, LaTeX, HTML and Markdown's strikethrough.
What has no plain spelling becomes a backslash, which may not stand beside a number.

Words of other languages are a short closed list: of approximation and of size, the most common
negations and bounds, and `The answer is` in ten languages. Patterns for Chinese, Japanese and
Korean need no end of a word. `spelled` and `places` read these words.
"""

import html
import re
import unicodedata


class _Plain(dict[int, str | None]):
    """For `str.translate`: what a character is in plain text, looked up when it is first met."""

    def __missing__(self, code: int) -> str | None:
        self[code] = _plain_character(chr(code))
        return self[code]


_SIGNS = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63", "-"),
    **dict.fromkeys("\u2018\u2019\u02bc", "'"),
    **dict.fromkeys("\u00d7\u22c5\u00b7\u2219\u2217\u2715\u2716", "*"),
    **dict.fromkeys("\u2028\u2029\u0085", "\n"),
    **dict.fromkeys("\ufe0f\u20e3"),  # of key caps
    **{"\u00f7": "/", "\u2044": "/", "\u2215": "/", "\u066b": ".", "\u066c": ",", "\u060c": ","},
    **{"\u3002": ". ", "\u066a": "%"},
}


def _plain_character(character: str) -> str | None:
    if character in _SIGNS:
        return _SIGNS[character]
    kind = unicodedata.category(character)
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if "\uff01" <= character <= "\uff5e":  # full width
        return chr(ord(character) - 0xFEE0)
    if kind in ("Zs", "Cf"):  # blanks; what has no width
        return " " if kind == "Zs" else None
    return character


_CHARACTERS = _Plain({code: chr(code) for code in range(128)})


_BREAK = re.compile(r"<br\s?/?>")


def plain(text: str) -> str:
    """Return `text` with ASCII digits, blanks and signs; what has no width is left out."""
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    text = _BREAK.sub("\n", text) if "<br" in text else text
    return text if text.isascii() else text.translate(_CHARACTERS)


_WRAPPERS = (
    "text textbf textit textrm textsf texttt textnormal mathbf mathrm mathit mathsf mathtt emph bf "
    "boldsymbol bm rm it boxed fbox mbox hbox left right big Big bigl bigr Bigl Bigr underline "
    "displaystyle textstyle operatorname mathord"
)
_SPELLINGS = {
    "*": "times cdot ast",
    "": "checkmark square blacksquare Box qed qedhere",
    "≈": "approx approxeq sim simeq cong thickapprox doteq",
    "<": "ge geq gt le leq lt ne neq pm mp",
    " ": "quad qquad space enspace thinspace newline par n to rightarrow Rightarrow longrightarrow "
    "implies therefore",
    "$": "textdollar dollar",
    "%": "percent textpercent",
    "…": "dots ldots",
}
_NAMED = {
    **dict.fromkeys(_WRAPPERS.split(), ""),
    **{name: sign for sign, names in _SPELLINGS.items() for name in names.split()},
    **{"div": "/", "degree": "°", "pounds": "£", "euro": "€", "cent": "¢", "equiv": "=", "!": ""},
    **dict.fromkeys(",;: ()[]\\{}", " "),
    **{sign: sign for sign in "$%#&_"},
}
"""LaTeX's commands in plain text."""
_COMMAND = re.compile(r"\\([A-Za-z]+|.)")
_COLOR = re.compile(r"\\(?:text)?color\s?\{[^{}]*\}")
_FRACTION = re.compile(r"\\[dtc]?frac\s?(?:\{([^{}]*)\}\s?\{([^{}]*)\}|([0-9])\s?([0-9]))")
_DEGREE = re.compile(r"\^\s?\{?\s?\\circ\s?\}?")
_BLANK_BEFORE_UNIT = re.compile(r"~(?=\s?[A-Za-z\\])")
_POWER_OF_UNIT = re.compile(r"(?<=[A-Za-z])(?:\s?\^\s?[23]|[²³])")
_AREA = re.compile(r"(?<![A-Za-z])([kcdm]?m|ft|in|yd|mi)[23]\b")
_ARROW = re.compile(r"[-=]+>|[→⇒⟹∴]")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]{0,10}(?:\s[^<>]{0,99})?/?>|<!--.{0,99}?-->")
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()\s]*\)")
_PLACEHOLDER = re.compile(r"<\s?([$0-9][^<>]*)>")
_RAISED = re.compile(r"\^\s?(?=(?:st|nd|rd|th)\b)")
"""`<18>`; the end of 18^th."""
_STRUCK = re.compile(r"~~[^~\n]*~~|<(del|s|strike)>[^<\n]{0,99}</\1>")
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")


def unwrapped(written: str) -> str:
    """Return a line of text, which `plain` has read, without its wrappers."""
    if "&" in written:
        written = plain(html.unescape(written))
    if "<" in written:
        written = _ANNOTATION.sub("", _STRUCK.sub("", written)).replace("<sup>", "^")
        written = _PLACEHOLDER.sub(r" \1 ", _TAG.sub(" ", written))
    written = _ARROW.sub(" ", _STRUCK.sub("", _LINK.sub(r"\1", written)))
    written = _without_latex(written)
    written = written.replace("{,}", ",").replace("{.}", ".")
    written = _POWER_OF_UNIT.sub("", _RAISED.sub("", re.sub("[{}]", "", written)))
    return _AREA.sub(r"\1", written)


def _without_latex(written: str) -> str:
    if "\\" not in written:
        return _BLANK_BEFORE_UNIT.sub(" ", written)
    written = _BLANK_BEFORE_UNIT.sub(" ", _DEGREE.sub("°", _COLOR.sub("", written)))
    written = _FRACTION.sub(lambda it: f" {it[1] or it[3]}/{it[2] or it[4]} ", written)
    return _COMMAND.sub(lambda it: _NAMED.get(it[1], "\\"), written)


ABOUT_IN_OTHER_LANGUAGES = (
    "circa|cirka|zirka|etwa|ungefähr|environ|approximativement|à peu près|aproximadamente|aprox|"
    "más o menos|mais ou menos|approssimativamente|ongeveer|ungefär|около|примерно|приблизительно|"
    "приблизно|yaklaşık|około|mniej więcej|περίπου|लगभग|تقريبا|대략"
)
"""Before or behind a number."""
ABOUT_BEFORE = (
    "rund|knapp|beinahe|annähernd|um die|gegen|presque|autour de|près de|alrededor de|cerca de|"
    "casi|un[oa]s|quase|por volta de|em torno de|quasi|intorno a|all'incirca|bijna|nästan|omkring|"
    "lähes|noin|почти|порядка|prawie|kb|cca|khoảng|gần|sekitar|kira-kira|حوالي|करीब|약|거의"
)
ABOUT_TOUCHING = (
    r"(?:(?<![节節条條预預合契公制特婚])[约約]|大[概致體体]|差不多|[将將接]近|お?およそ|おおよそ|だいたい|"
    r"ほぼ|もう少しで)[为為是有合]?"
)
"""Not the 约 of 节约 (to save) or 合约 (a contract)."""
ABOUT_BEHIND = r"[^\W\d_]{0,5}?\s?(?:左右|上下|前[后後]|[くぐ]らい|程度|ほど|쯤|정도)"

WRONG = (
    r"falsch|faux|fausse|fals[ao]|incorrect[aeo]|errad[ao]|sbagliat[ao]|onjuist|fout|неверно|"
    r"неправильно"
)
BEFORE = (
    rf"{WRONG}|nicht|niet|não|non|nie|inte|ikke|pas|no es|не|podría ser|puede ser|könnte|pode ser|"
    r"pourrait être|potrebbe essere|может быть|mindestens|höchstens|unter|über|fast|al menos|"
    r"por lo menos|como (?:máximo|mínimo)|hasta|au (?:moins|plus)|almeno|al massimo|pelo menos|"
    r"no (?:máximo|mínimo)|até|minstens|hoogstens|свыше|более|менее|(?:больше|меньше)(?: чем)?|"
    r"(?:menos|más|plus|moins|mais|meno|più) (?:de|di|que)|(?:mehr|weniger) als|"
    r"(?:meer|minder) dan|(?:mitad|moitié|metà|metade|doble|double|doppio|dobro) (?:de|di)|"
    r"(?:Hälfte|Doppelte) von|helft van|половина от"
)
"""A denial, a bound, a part."""
BEFORE_TOUCHING = (
    r"不[会會可]?能?是|不等[于於]|[可也或][能许許]是|[小大少多低高][于於]|超[过過]|不[到足]|至[少多]|"
    r"最[少多]|[除乘]以|[加减減][上去]"
)
BEHIND = (
    r"(?:(?<!más )o|(?<!mais )ou|oder|of|или)\W+(?:más|menos|plus|moins|mehr|weniger|più|meno|"
    r"mais|meer|minder|больше|меньше|более|менее)|"
    r"(?:y|et|e|und|en|с)\W+(?:medi[ao]|demie?|mezz[ao]|mei[ao]|ein halb\w*|half|половиной)"
)
BEHIND_TOUCHING = (
    r"[多余餘几幾]|[^\W\d_]?半|[^\W\d_]{0,3}\s?(?:以[上下内內]|未[満满]|이상|이하|미만)"
)
NOT_BEHIND = r"(?:では|じゃ)(?:ない|なく|ありません)|아니|아닙|不[对對是]|(?<![没沒])[错錯]"

BECAUSE = "porque|parce que|weil|denn|perché|omdat|потому что"
KILO = "[克米瓦卡]"
"""Behind 千 a unit: 千克 is a kilogram."""
SCALES_OF_ANOTHER_SIZE = (
    r"(?:b|tr|quadr|cuatr|quint)il(?:[lh](?:iarden?|ionen|ioner|ión|ones|one|oni|ão|ões)|"
    r"j(?:oen|oner)|yon|ion|iun)|(?:б|тр|квадр|квинт)илли(?:он|ард)\w*"
)
"""Billionen are 10**12; which they are depends on the language."""

ANSWER_IS = (
    r"la respuesta(?: (?:final|correcta))?(?: a la pregunta| al problema)? es|"
    r"la réponse(?: (?:finale|correcte))?(?: à la question| au problème)? est|"
    r"die (?:(?:richtige|endgültige|korrekte|finale) )?antwort(?: auf die frage)? (?:ist|lautet)|"
    r"la risposta(?: (?:finale|corretta))?(?: alla domanda| al problema)? è|"
    r"a resposta(?: (?:final|correta))?(?: à pergunta| [ad]o problema)? é|"
    r"het (?:(?:juiste|uiteindelijke) )?antwoord(?: op de vraag)? is|"
    r"(?:правильный |окончательный )?ответ(?: на вопрос)? ?(?:равен|это|[-\u2014])"
)
ANSWER_IS_TOUCHING = "答案(?:就)?[是为為]|答えは|正解は|답은"
ANSWERS = ("spuesta", "éponse", "ntwo", "sposta", "твет", "答", "正解", "답")
"""One of these is in whatever they find."""
LABELS = (
    r"(?:(?:endgültige|richtige|juiste|правильный|окончательный) )?"
    r"(?:antwort|lösung|ergebnis|respuesta|réponse|risposta|resposta|antwoord|ответ)"
    r"(?: (?:finale?|correct[ae]|corretta|correta))?"
)
LABELS_TOUCHING = "(?:最[终終]|正[确確])?(?:答案|答え|答)|(?:최종 ?)?(?:답|정답)"
SUPPOSED = (
    r"\b(?:si|falls|als|se|если)\s+$|"
    r"\b(?:pas|nicht|no|non|não|niet)\b[^\n.,]{0,20}\s(?:que|che|dat)\s+$|"
    r"(?:如果|假如|假[设設]|若|もし|만약)[^\n.,]{0,4}$|"
    r"(?:[错錯][误誤]?|不正[确確]|間違[っい]た?|[步骤驟]|中[间間])[的の]?$"
)
"""Before it: the answer is only supposed, denied, or of a step."""


NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    "sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)

SCALES = {
    **dict.fromkeys(("hundred", "hundreds"), 100),
    **dict.fromkeys(("k", "K", "thousand", "thousands", "thou", "grand"), 1000),
    **dict.fromkeys(("tsd", "tausend", "mille", "mila", "tusen", "duizend", "тыс", "тысяч"), 1000),
    **dict.fromkeys(("тысяча", "тысячи", "tys", "ribu", "千", "천", "ألف"), 1000),
    **dict.fromkeys(("lakh", "lakhs"), 10**5),
    **dict.fromkeys(("M", "MM", "mn", "mln", "mio", "mil", "million", "millions"), 10**6),
    **dict.fromkeys(("millionen", "millones", "millón", "milioni", "milione", "milhões"), 10**6),
    **dict.fromkeys(("milhão", "miljoen", "milyon", "miljoner", "juta", "triệu"), 10**6),
    **dict.fromkeys(("млн", "миллион", "миллиона", "миллионов", "مليون"), 10**6),
    **dict.fromkeys(("crore", "crores", "Cr"), 10**7),
    **dict.fromkeys(("B", "bn", "bil", "billion", "billions"), 10**9),
    **dict.fromkeys(("mrd", "md", "Md", "milliarde", "milliarden", "milliard", "milliards"), 10**9),
    **dict.fromkeys(("miliardi", "miliardo", "миллиард", "миллиарда"), 10**9),
    **dict.fromkeys(("миллиардов", "млрд"), 10**9),
    **dict.fromkeys(("tn", "tril", "trillion", "trillions"), 10**12),
    **dict.fromkeys(("quadrillion", "quadrillions"), 10**15),
    **dict.fromkeys(("万", "萬", "만", "myriad", "myriads"), 10**4),
    **dict.fromkeys(("亿", "億", "억"), 10**8),
    **dict.fromkeys(("dozen", "dozens"), 12),
    **dict.fromkeys(("gross",), 144),
    **dict.fromkeys(("score",), 20),
}
"""What a word behind a number multiplies it by, in English and other common languages."""
MONEY_SCALES = {"m": 10**6, "mm": 10**6, "b": 10**9, "T": 10**12, "t": 10**12, "L": 10**5}
"""Letters that are units or variables elsewhere: 5 m, 5 t, 5b."""
_UNKNOWN_SCALES = (
    r"(?!(?:cot|pav|post|verm)ill)[a-z]*illions?|googol\w*|umpteen|baker's dozens?|"
    + SCALES_OF_ANOTHER_SIZE
)
"""zillion, quintillion, Billionen: more than 10**15, of no size, or of another in each language."""
_BASE = rf"(?:hexadecimal|hex|octal|binary|ternary|base[\s-]+(?!ten\b)(?:{NUMBER_WORDS}))"
_WRONG = "wrong|incorrect|false"

SCALE = re.compile(rf"[\s-]*([A-Za-z](?![&'-]|\w)|[万萬만亿億억천]|千(?!{KILO})|[^\W\d_]{{2,}})")
RELATION = re.compile(
    r"(?:[/&\u274c\u2717\u2718]|\b(?:than|least|most|over|under|above|below|exceed(?:s|ing)?|"
    r"between|half|twice|thrice|double|triple|plus|times|or|versus|vs|never|without|until|"
    r"cannot(?:\s+\w+){0,2}|(?:half|halves|thirds?|quarters?|fourths?|fifths?|tenths?|out|root|"
    r"square|cube|multiple|percent|power|vicinity|range|minimum|maximum|short) of|"
    r"in the (?:neighbou?rhood|region|ballpark) of|on the order of|"
    r"log|ln|sin|cos|tan|sqrt|abs|exp|floor|ceil|gcd|lcm|max|min|maximum|minimum|"
    r"(?:half|quarter) past|except|besides|anything but|close to|from|adding|"
    r"subtracting|multiplying|dividing|"
    r"(?:given|divided|multiplied|obtained|found|calculated|reduced|less) by|option|choice|"
    rf"(?:could|might|may|would) be|mistaken|{_WRONG}|"
    r"(?:if|unless|whether)(?:\s+(?:it|that|this|x)(?:\s+(?:is|was|were|be)|'s))?|"
    rf"{BEFORE}|{_BASE}(?:\s+(?:number|value|notation|form|representation))?"
    r"(?:,?\s+(?:it\s+)?(?:is|equals))?|"
    r"not(?:\s+\w+){0,2}|not (?:think|believe|sure|certain)(?:\s+\w+){0,4}"
    r"|(?<!adds )(?<!add )(?<!comes )up to)"
    r"|n't(?:\s+\w+){0,2}|n't (?:think|believe|know)(?:\s+\w+){0,4}"
    rf"|{BEFORE_TOUCHING})\W*$",
    re.IGNORECASE,
)
"""Before a number: a bound, a part, a function, a denial."""
_ABOUT = f"approximately|approx|roughly|{ABOUT_IN_OTHER_LANGUAGES}"
ABOUT = re.compile(
    rf"[≈≃≅~∼≒]|\b(?:{_ABOUT}|about|around|(?-i:ca)|nearly|almost|{ABOUT_BEFORE})\b"
    rf"\W*(?:equals?|equal to|is)?\W*$|{ABOUT_TOUCHING}\W*$",
    re.IGNORECASE,
)
CHANGED = re.compile(
    rf"\W*(?:{_UNKNOWN_SCALES}|"
    "squared|cubed|factorial|doubled|tripled|halved|halves|half|thirds|fourths|fifths|"
    r"sixths|sevenths|eighths|ninths|tenths|elevenths|twelfths|sixteenths|twentieths|hundredths|"
    r"plus|minus|divided|multiplied|mod|modulo|over|choose|to the power|couple|"
    r"(?:odd|maximum|minimum|max)(?=\W*$)|give or take|was my|"
    r"(?:higher|lower|greater|larger|bigger)\s+than|"
    rf"thousandths|millionths|tens|ish|(?:times|point)\s+(?:{NUMBER_WORDS}|zero)|and a)\b"
    rf"|\s*-\s*(?:{NUMBER_WORDS})\b"
    rf"|.*\b(?:(?:or|to|and|through|versus|vs)\W+(?:about\s+)?(?:{NUMBER_WORDS}|more|less|fewer|so|"
    r"higher|above|below|under|even|thereabouts)|and\W+(?:up|over|above|more)|at least|at most|"
    r"not|cannot|I mean)\b"
    rf"|.*\b(?:{_WRONG}|{WRONG})\W*$|.*\b(?:{BEHIND})\b"
    rf"|.*\b(?:is|was|are|seems|looks)\b.*\b(?:{_WRONG})\b"
    r"|.*\band\W+(?:some|counting|change)\W*$"
    r"|.*\band\W+(?:an?\W+)?(?:half|third|quarter)\b"
    rf"|.*,\s*(?:{NUMBER_WORDS})\b|.*n't\b|.*\bno\W*$|.*[\u274c\u2717\u2718]"
    r"|\s*(?:[xyz]|(?-i:n)){1,3}\b|.*\bin\W+(?:hundreds|thousands|millions|billions|dozens)\b"
    rf"|.*\b(?:in|as)\W+(?:an?\W+)?{_BASE}\b|\W*{_BASE}\W*$"
    rf"|\W*(?:{BEHIND_TOUCHING})|.*(?:{NOT_BEHIND})",
    re.IGNORECASE | re.DOTALL,
)
"""Behind a number: a part, a sum, another number, a denial."""
COMPOUND = re.compile(rf"\W*(?:{NUMBER_WORDS})\b", re.IGNORECASE)
"""What continues behind a scale: thousand five."""
THEREABOUTS = re.compile(
    rf".*\b(?:{_ABOUT})\b|\W*{ABOUT_BEHIND}",
    re.IGNORECASE | re.DOTALL,
)
