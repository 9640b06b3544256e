"""Words around a number that make another number of it, or none; `spelled` reads them."""

import re

NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    "sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)

SCALES = {
    **dict.fromkeys(("hundred", "hundreds"), 100),
    **dict.fromkeys(("k", "K", "thousand", "thousands", "grand"), 1000),
    **dict.fromkeys(("tsd", "tausend", "mille", "mila", "tusen", "duizend", "тыс", "тысяч"), 1000),
    **dict.fromkeys(("тысяча", "тысячи", "tys", "ribu", "千", "천", "ألف"), 1000),
    **dict.fromkeys(("lakh", "lakhs"), 10**5),
    **dict.fromkeys(("M", "MM", "mn", "mln", "mio", "mil", "million", "millions"), 10**6),
    **dict.fromkeys(("millionen", "millones", "millón", "milioni", "milione", "milhões"), 10**6),
    **dict.fromkeys(("milhão", "miljoen", "milyon", "miljoner", "juta", "triệu"), 10**6),
    **dict.fromkeys(("млн", "миллион", "миллиона", "миллионов", "مليون"), 10**6),
    **dict.fromkeys(("crore", "crores"), 10**7),
    **dict.fromkeys(("B", "bn", "billion", "billions"), 10**9),
    **dict.fromkeys(("mrd", "md", "Md", "milliarde", "milliarden", "milliard", "milliards"), 10**9),
    **dict.fromkeys(("miliardi", "miliardo", "миллиард", "миллиарда"), 10**9),
    **dict.fromkeys(("миллиардов", "млрд"), 10**9),
    **dict.fromkeys(("tn", "trillion", "trillions"), 10**12),
    **dict.fromkeys(("quadrillion", "quadrillions"), 10**15),
    **dict.fromkeys(("万", "萬", "만", "myriad", "myriads"), 10**4),
    **dict.fromkeys(("亿", "億", "억"), 10**8),
    **dict.fromkeys(("dozen", "dozens"), 12),
    **dict.fromkeys(("gross",), 144),
    **dict.fromkeys(("score",), 20),
}
"""What a word behind a number multiplies it by, in English and other common languages."""
MONEY_SCALES = {"m": 10**6, "b": 10**9, "T": 10**12, "t": 10**12}
"""Letters that are units elsewhere: 5 m, 5 t."""

SCALE = re.compile(
    r"[\s-]*([A-Za-z](?![&'-]|\w)|[\u4e07\u842c\ub9cc\u4ebf\u5104\uc5b5\u5343\ucc9c]|[^\W\d_]{2,})"
)
RELATION = re.compile(
    r"(?:[/&\u274c\u2717\u2718]|\b(?:than|least|most|over|under|above|below|exceed(?:s|ing)?|"
    r"between|half|twice|thrice|double|triple|plus|times|or|versus|vs|never|without|until|"
    r"cannot(?:\s+\w+){0,2}|(?:half|halves|thirds?|quarters?|fourths?|fifths?|tenths?|out|root|"
    r"square|cube|multiple|percent|power|vicinity|range|minimum|maximum|short) of|"
    r"log|ln|sin|cos|tan|sqrt|abs|exp|floor|ceil|gcd|lcm|max|min|maximum|minimum|"
    r"(?:half|quarter) past|except|besides|anything but|close to|from|adding|"
    r"subtracting|multiplying|dividing|"
    r"(?:given|divided|multiplied|obtained|found|calculated|reduced|less) by|option|choice|"
    r"(?:could|might|may|would) be|wrong|incorrect|false|mistaken|"
    r"(?:if|unless|whether)(?:\s+(?:it|that|this|x)(?:\s+(?:is|was|were|be)|'s))?|"
    r"mindestens|h\u00f6chstens|nicht|unter|\u00fcber|fast|pas|no es|\u043d\u0435|"
    r"(?:menos|m\u00e1s|plus|moins) de|(?:mehr|weniger) als|"
    r"not(?:\s+\w+){0,2}|not (?:think|believe|sure|certain)(?:\s+\w+){0,4}"
    r"|(?<!adds )(?<!add )(?<!comes )up to)"
    r"|n't(?:\s+\w+){0,2}|n't (?:think|believe|know)(?:\s+\w+){0,4})\W*$",
    re.IGNORECASE,
)
"""Before a number: a bound, a part, a function, a denial."""
ABOUT = re.compile(
    r"[≈≃≅~∼≒]|\b(?:about|approximately|approx|around|roughly|circa|(?-i:ca)|nearly|almost|"
    r"etwa|ungef\u00e4hr|environ|\u043e\u043a\u043e\u043b\u043e|aproximadamente)\b"
    r"\W*(?:equals?|equal to|is)?\W*$",
    re.IGNORECASE,
)
CHANGED = re.compile(
    r"\W*(?:squared|cubed|factorial|doubled|tripled|halved|halves|half|thirds|fourths|fifths|"
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
    rf"|.*,\s*(?:{NUMBER_WORDS})\b|.*n't\b|.*\bno\W*$|.*[\u274c\u2717\u2718]|\s*[xyzn]\b",
    re.IGNORECASE | re.DOTALL,
)
"""Behind a number: a part, a sum, another number, a denial."""
COMPOUND = re.compile(rf"\W*(?:{NUMBER_WORDS})\b", re.IGNORECASE)
"""What goes on behind a scale: thousand five."""
THEREABOUTS = re.compile(r".*\b(?:approximately|approx|roughly)\b", re.IGNORECASE | re.DOTALL)
