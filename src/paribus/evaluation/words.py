"""Words around a number that make another number of it, or none; `spelled` reads them."""

import re

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
    r"(?!(?:cot|pav|post|verm)ill)[a-z]*illions?|googol\w*|baker's dozens?|"
    r"(?:b|tr|quadr|cuatr|quint)il(?:[lh](?:iarden?|ionen|ioner|ión|ones|one|oni|ão|ões)|"
    r"j(?:oen|oner)|yon|ion|iun)|(?:б|тр|квадр|квинт)илли(?:он|ард)\w*"
)
"""zillion, quintillion, Billionen: more than 10**15, of no size, or of another in each language."""
_BASE = rf"(?:hexadecimal|hex|octal|binary|ternary|base[\s-]+(?!ten\b)(?:{NUMBER_WORDS}))"

SCALE = re.compile(
    r"[\s-]*([A-Za-z](?![&'-]|\w)|[\u4e07\u842c\ub9cc\u4ebf\u5104\uc5b5\u5343\ucc9c]|[^\W\d_]{2,})"
)
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
    r"(?:could|might|may|would) be|wrong|incorrect|false|mistaken|"
    r"(?:if|unless|whether)(?:\s+(?:it|that|this|x)(?:\s+(?:is|was|were|be)|'s))?|"
    r"mindestens|h\u00f6chstens|nicht|unter|\u00fcber|fast|pas|no es|\u043d\u0435|"
    r"(?:menos|m\u00e1s|plus|moins) de|(?:mehr|weniger) als|"
    rf"{_BASE}(?:\s+(?:number|value|notation|form|representation))?(?:,?\s+(?:it\s+)?(?:is|equals))?|"
    r"not(?:\s+\w+){0,2}|not (?:think|believe|sure|certain)(?:\s+\w+){0,4}"
    r"|(?<!adds )(?<!add )(?<!comes )up to)"
    r"|n't(?:\s+\w+){0,2}|n't (?:think|believe|know)(?:\s+\w+){0,4}"
    r"|不是|[小大少多低高][于於]|超[过過]|不[到足]|至[少多]|最[少多]|[除乘]以|[加减減][上去])\W*$",
    re.IGNORECASE,
)
"""Before a number: a bound, a part, a function, a denial."""
_ABOUT = (
    "approximately|approx|roughly|circa|cirka|zirka|etwa|ungefähr|environ|approximativement|"
    "à peu près|aproximadamente|aprox|más o menos|mais ou menos|approssimativamente|ongeveer|"
    "ungefär|около|примерно|приблизительно|yaklaşık|około|mniej więcej|लगभग|تقريبا|대략"
)
ABOUT = re.compile(
    rf"[≈≃≅~∼≒]|\b(?:{_ABOUT}|about|around|(?-i:ca)|nearly|almost|rund|knapp|beinahe|annähernd|"
    "presque|autour de|près de|alrededor de|cerca de|casi|un[oa]s|quase|por volta de|em torno de|"
    "quasi|intorno a|all'incirca|bijna|nästan|omkring|почти|порядка|prawie|khoảng|gần|sekitar|"
    r"kira-kira|حوالي|करीब|약|거의)\b\W*(?:equals?|equal to|is)?\W*$"
    r"|(?:(?<![节節条條预預合契公制特婚])[约約]|大[概致體体]|差不多|[将將接]近|お?およそ|おおよそ|だいたい|ほぼ)"
    r"[为為是有合]?\W*$",
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
    r"not|cannot|I mean)\b|.*\b(?:wrong|incorrect|false)\W*$"
    r"|.*\b(?:is|was|are|seems|looks)\b.*\b(?:wrong|incorrect|false)\b|.*\band\W+(?:some|counting|change)\W*$"
    r"|.*\band\W+(?:an?\W+)?(?:half|third|quarter)\b"
    rf"|.*,\s*(?:{NUMBER_WORDS})\b|.*n't\b|.*\bno\W*$|.*[\u274c\u2717\u2718]"
    r"|\s*(?:[xyz]|(?-i:n)){1,3}\b|.*\bin\W+(?:hundreds|thousands|millions|billions|dozens)\b"
    rf"|.*\b(?:in|as)\W+(?:an?\W+)?{_BASE}\b|\W*{_BASE}\W*$"
    r"|\W*(?:[多余餘几幾]|[^\W\d_]?半|[^\W\d_]{0,3}(?:以[上下内內]|未[満满]|이상|이하|미만))",
    re.IGNORECASE | re.DOTALL,
)
"""Behind a number: a part, a sum, another number, a denial."""
COMPOUND = re.compile(rf"\W*(?:{NUMBER_WORDS})\b", re.IGNORECASE)
"""What goes on behind a scale: thousand five."""
THEREABOUTS = re.compile(
    rf".*\b(?:{_ABOUT})\b|\W*[^\W\d_]{{0,5}}?(?:左右|上下|前[后後]|[くぐ]らい|程度|ほど|쯤|정도)",
    re.IGNORECASE | re.DOTALL,
)
