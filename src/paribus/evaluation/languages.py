"""Words of other languages around a number, as parts of patterns: `words` and `places` read them.

They are a short closed list: of about and of size, the commonest denials and bounds, and
`The answer is` in ten languages. Patterns of Chinese, Japanese and Korean look for no end
of a word.
"""

ABOUT = (
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
