"""Words around a number that make another number of it, or none; `spelled` reads them."""

import re

from paribus.evaluation import languages

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
    + languages.SCALES_OF_ANOTHER_SIZE
)
"""zillion, quintillion, Billionen: more than 10**15, of no size, or of another in each language."""
_BASE = rf"(?:hexadecimal|hex|octal|binary|ternary|base[\s-]+(?!ten\b)(?:{NUMBER_WORDS}))"
_WRONG = "wrong|incorrect|false"

SCALE = re.compile(
    rf"[\s-]*([A-Za-z](?![&'-]|\w)|[万萬만亿億억천]|千(?!{languages.KILO})|[^\W\d_]{{2,}})"
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
    rf"(?:could|might|may|would) be|mistaken|{_WRONG}|"
    r"(?:if|unless|whether)(?:\s+(?:it|that|this|x)(?:\s+(?:is|was|were|be)|'s))?|"
    rf"{languages.BEFORE}|{_BASE}(?:\s+(?:number|value|notation|form|representation))?"
    r"(?:,?\s+(?:it\s+)?(?:is|equals))?|"
    r"not(?:\s+\w+){0,2}|not (?:think|believe|sure|certain)(?:\s+\w+){0,4}"
    r"|(?<!adds )(?<!add )(?<!comes )up to)"
    r"|n't(?:\s+\w+){0,2}|n't (?:think|believe|know)(?:\s+\w+){0,4}"
    rf"|{languages.BEFORE_TOUCHING})\W*$",
    re.IGNORECASE,
)
"""Before a number: a bound, a part, a function, a denial."""
_ABOUT = f"approximately|approx|roughly|{languages.ABOUT}"
ABOUT = re.compile(
    rf"[≈≃≅~∼≒]|\b(?:{_ABOUT}|about|around|(?-i:ca)|nearly|almost|{languages.ABOUT_BEFORE})\b"
    rf"\W*(?:equals?|equal to|is)?\W*$|{languages.ABOUT_TOUCHING}\W*$",
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
    rf"|.*\b(?:{_WRONG}|{languages.WRONG})\W*$|.*\b(?:{languages.BEHIND})\b"
    rf"|.*\b(?:is|was|are|seems|looks)\b.*\b(?:{_WRONG})\b"
    r"|.*\band\W+(?:some|counting|change)\W*$"
    r"|.*\band\W+(?:an?\W+)?(?:half|third|quarter)\b"
    rf"|.*,\s*(?:{NUMBER_WORDS})\b|.*n't\b|.*\bno\W*$|.*[\u274c\u2717\u2718]"
    r"|\s*(?:[xyz]|(?-i:n)){1,3}\b|.*\bin\W+(?:hundreds|thousands|millions|billions|dozens)\b"
    rf"|.*\b(?:in|as)\W+(?:an?\W+)?{_BASE}\b|\W*{_BASE}\W*$"
    rf"|\W*(?:{languages.BEHIND_TOUCHING})|.*(?:{languages.NOT_BEHIND})",
    re.IGNORECASE | re.DOTALL,
)
"""Behind a number: a part, a sum, another number, a denial."""
COMPOUND = re.compile(rf"\W*(?:{NUMBER_WORDS})\b", re.IGNORECASE)
"""What goes on behind a scale: thousand five."""
THEREABOUTS = re.compile(
    rf".*\b(?:{_ABOUT})\b|\W*{languages.ABOUT_BEHIND}",
    re.IGNORECASE | re.DOTALL,
)
