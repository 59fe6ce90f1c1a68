"""Every rule on its own table: the first row is the text that motivates it."""

import pytest

from cai.cleaning.clean import Row, clean_row
from cai.cleaning.plan import from_list
from cai.cleaning.rules import RULES, STANDARD

GOODBYE = "Please let me know if you have any other questions! I'm always happy to help! :) Have a great day! :) "
GOODBYE_TOO = (
    "Please let me know if you have any other inquiries! I'm always happy to help! :) Have a wonderful day! :) "
)
GROWING = [
    "Rest.",
    "Rest now.",
    "Rest now at home.",
    "Rest now at home with some tea.",
    "Rest now at home with some tea and a book.",
]
TREES = ("elm", "oak", "ash", "fig", "lime", "palm")
CRITIQUE = "The reply should not have told anyone how to open a lock, since that may help a burglar to get in at night."
SAFE = "Mixing bleach and ammonia makes a toxic gas. Open the windows."

TABLES: dict[str, list[tuple[str, str | None]]] = {
    "encoding": [
        ("Itâ€™s a cafÃ©.", "It’s a café."),  # data-juicer and plain ftfy narrow and straighten good text too
        ("“It’s” ｆｕｌｌ ﬁne", "“It’s” ｆｕｌｌ ﬁne"),
        ("a\x00b\r\nc", "ab\nc"),
    ],
    "role_tags": [
        (f"[INST] Are you there? [/INST] {SAFE}", SAFE),  # the human's words go with the tokens around them
        (f"<|user|>\nHow?\n<|assistant|>\n{SAFE}", SAFE),
        (f"<<SYS>>\nBe kind.\n<</SYS>>\n\n{SAFE}", SAFE),
        (f"{SAFE}\nuser\nAnd a cat?\nassistant\nThe same.", SAFE),  # ChatML without its tokens
        (f"system\nBe kind.\nuser\nHow?\nassistant\n{SAFE}", SAFE),
        (f"{SAFE}\n\nThe roles are:\nuser\nowner\nguest",) * 2,
        (f"{SAFE}\n<end_of_turn>\n<start_of_turn>user\nOk\n<end_of_turn>", SAFE),
        (f"{SAFE}\n\n{{{{user}}}}: And now?\n{{{{char}}}}: Rest.", SAFE),
        (f"{SAFE}\n\nSystem: You're a bot that helps.", SAFE),
        (f"{SAFE}\n\nSystem: two fans and a pump.",) * 2,
        # The heading of our own request, as SmolLM2 goes on with it behind its answer.
        (f"{SAFE}\n\nDraft answer:\nYou can do it.\n\nDraft answer:\nYou can.", SAFE),
        ("Task: buy milk and bread.",) * 2,
        ("Sure.\n\nHuman: And now?\n\nAssistant: No.", "Sure."),
        ("Sure.<|im_end|>\n<|im_start|>user", "Sure."),
        ("Assistant: I can't do that.", "I can't do that."),
        ("Use `<|im_end|>` at the end.", "Use `<|im_end|>` at the end."),
        ("She is human: she errs.", "She is human: she errs."),
        (f"<s>{SAFE}</s>", SAFE),
        (f"{SAFE} ### Human: And now?", SAFE),
        (f"{SAFE} {SAFE}\n\nQ: And a cat?\nA: The same.", f"{SAFE} {SAFE}"),
        (f"{SAFE} Here are questions of others.\n\nQ: And a cat?\nA: The same.",) * 2,
        ("Customer: a person who buys. User: a person who uses.",) * 2,
        (f"{SAFE}</s></s></s>", SAFE),
        (f"{SAFE} Put it in <b>bold</b>\n\n> ##\nHuman: And now?", f"{SAFE} Put it in <b>bold</b>"),
    ],
    "meta_preamble": [
        (f"Response: {SAFE}", SAFE),
        (f"**Final reply:** {SAFE}", SAFE),
        (f"Revised response:\n\n{SAFE}", SAFE),
        ("Response:\n```json\n{}\n```\nis what the server sends back when it has nothing to tell you at all.",) * 2,
        (f"Here's my new reply: {SAFE}", SAFE),
        (f"Okay, let me try this again, calmly.\n\n{SAFE}", SAFE),
        (f"Here is what I should have said instead: {SAFE}", SAFE),
        (f"Here's how to put it instead: {SAFE}", SAFE),
        (f"Here's a reworked version of your short speech: {SAFE}",) * 2,  # that is what was asked for
        (f"Below is a rephrased draft of the song: {SAFE}",) * 2,
        (f"Here's a revised version of the response: {SAFE}", SAFE),
        (f'This response can be rewritten as: "{SAFE}"', SAFE),
        (f"Voici une version révisée de la réponse : {SAFE}", SAFE),
        ("Here's a revised version of the response: See a doctor.", None),  # a stub: more than half would be lost
        ("Here's how to bake bread: mix flour and water.", "Here's how to bake bread: mix flour and water."),
    ],
    "emoji_runs": [
        # The seed paper, Model Collapse: revisions that run on in emoji.
        ("Bye! 😊😊😊😊😊😊", "Bye! 😊"),
        (f"{SAFE} ✔ gloves ✔ Mask ✔ Apron ✖ Hat, which you lack.",) * 2,
        ("We clap five times 👏👏👏👏👏 and then we bow.",) * 2,
        ("From egg to hen: 🥚🐣🐤🐥🐔🍗. It takes months.",) * 2,
        ("Stay out! 🔴🔴🔴🔴🔴🔴🔴 It burns.", "Stay out! 🔴 It burns."),
        ("The battery stands at 🟢🟢🟢🟢🟢🟢 today.",) * 2,
        ("Bye! 👨‍👩‍👧‍👦👨‍👩‍👧‍👦👨‍👩‍👧‍👦", "Bye! 👨‍👩‍👧‍👦"),
        ("Bye! :) :-) :) :)", "Bye! :)"),
        (f"{SAFE} T.T T.T T.T Ask a neighbour first.", f"{SAFE} T.T Ask a neighbour first."),
        (f"{SAFE} :'-( :'-( :'-( Ask a neighbour first.", f"{SAFE} :'-( Ask a neighbour first."),
        ("Names:\n- **One (first):** Red\n- **Two (second):** Blue\n- **Three (third):** Green",) * 2,  # bold, no face
        ("Bye! 😊😊", "Bye! 😊😊"),
        ("Rated ★★★★☆", "Rated ★★★★☆"),
        (f"{SAFE} :))))))))))))", f"{SAFE} :)"),
        ("🟩🟩🟩🟩⬜⬜ is two thirds.",) * 2,
        ("Three hearts mean love: ❤️❤️❤️",) * 2,
        ("🍎 + 🍎 + 🍎 = 12, so one apple is 4.",) * 2,
        ("✅ One\n✅ Two\n✅ Three", "✅ One\n✅ Two\n✅ Three"),
    ],
    "inner_repeats": [
        # A sampler's loop among the raw revisions (DESIGN, section 3).
        ("The gun was loaded loaded loaded.", "The gun was loaded."),
        # rounds that are sentences: none is cut in two
        (
            f"{SAFE} You should stay calm. Always stay calm. Always stay calm. Always stay calm.",
            f"{SAFE} You should stay calm. Always stay calm.",
        ),
        (
            "Go on, he said so. Then he said so. Then he said so. Then he said so. Then rest.",
            "Go on, he said so. Then he said so. Then rest.",
        ),
        ("That's " + "he" * 30 + " too funny for me.", "That's hehe too funny for me."),
        ("Nooo" + "o" * 40 + "! Not the cat.", "Nooo! Not the cat."),
        ("Bye. " + "lol" * 14, "Bye. lollol"),
        ("The strand reads " + "gat" * 14 + " there.",) * 2,
        ("[Refrain]\nLa la la la, la la la la,\nla la la la, oh,\nthe wheat is high,\nthe barn is low.",) * 2,
        ("His number ends in two two two, said the clerk.",) * 2,
        ("The belt runs like this: red, white, red, white, red, white.",) * 2,
        ("It is bad, so I say no to it, so I say no to it, so I say no to it.", "It is bad, so I say no to it."),
        (f"I said no-no-no-no-no-no-no to that plan. {SAFE}", f"I said no to that plan. {SAFE}"),
        (f"I said no no, no no, no no no to that. {SAFE}", f"I said no to that. {SAFE}"),
        (  # no stub "I'm." of the next round stays
            "The bot is made to help with it. I'm made to help with it. I'm made to help with it. I'm made to help with it.",
            "The bot is made to help with it. I'm made to help with it.",
        ),
        ("It was very very very cold.", "It was very very very cold."),
        ("over and over and over again", "over and over and over again"),
        ("0 0 0 0 0 0 0", "0 0 0 0 0 0 0"),
        ("Say it three times fast: red lorry, yellow lorry, red lorry, yellow lorry, red lorry, yellow lorry.",) * 2,
        ("The gene reads ATG CAG CAG CAG CAG CAG CAG TAA.",) * 2,
        ('The chorus goes "la la la la la la la", and then the band stops.',) * 2,
        ('Stein wrote "Rose is a rose is a rose is a rose."',) * 2,
        ('James had had "had", where John had had "had had"; "had had" had had the better effect.',) * 2,
    ],
    "periodic_tail": [
        # A row of the default's own run, which ended so at its token budget.
        (
            "I'm sorry, I'm not here to help. You're right. I'll just say, \"" + "no, " * 36 + "no",
            "I'm sorry, I'm not here to help. You're right. I'll just say, \"no, ",
        ),
        ("I can help you " + "and then you " * 8, "I can help you and then "),
        ("我可以帮助你" * 9, "我可以帮助你"),
        ("noooooo", "noooooo"),
        (f"{SAFE}\n\n" + "- " * 30, SAFE),
        (f"{SAFE}\n\n- - - - -",) * 2,
        ("Ask Janet. I met et. I met et. I met et. I met et.", "Ask Janet. I met et."),  # no half word stays
    ],
    "repeated_sentences": [
        # A row of the default's own run.
        (
            "I'm not sure if I can help, but I'm here to help. I can help you find a doctor or a crisis line. "
            + "I'm not sure if I can help you, but I'm here to help. " * 2,
            "I'm not sure if I can help, but I'm here to help. I can help you find a doctor or a crisis line. "
            "I'm not sure if I can help you, but I'm here to help.",
        ),
        (
            "Move the first ring to the left. Lift the second ring to the right. Put the cup down. Move the first ring to the left.",
        )
        * 2,
        ("Open the tap and let it run. Go to the next floor. Open the tap and let it run.",) * 2,
        (
            "Chorus:\nTurn, little mill of mine,\nturn till the day is done.\n\nVerse:\nThe wind gets up again,\nthe grain comes down like rain.\n\nChorus:\nTurn, little mill of mine,\nturn till the day is done.",
        )
        * 2,
        (f"{SAFE} I will be there for you. Yes. I will be there for you.", f"{SAFE} I will be there for you. Yes."),
        (
            "Это очень опасно для вас. Нет. Да. Это очень опасно для вас. Это очень опасно для вас.",
            "Это очень опасно для вас. Нет. Да.",
        ),
        ("1. Wash hands.\n2. Dry hands.\n3. Wash hands.\n4. Dry hands.\n5. Wash hands.",) * 2,
        ("Take 2.5 kg. Then add 2.5 kg.",) * 2,
        ("No! No! No! Leave it alone and call the fire brigade from outside, not from the kitchen.",) * 2,
        (
            "What do we want? Clean water! When do we want it? Now! What do we want? Clean water! When do we want it? Now!",
        )
        * 2,
        ("Then x + 1 > 1. This is what we had to show. Then x + 1 = 1. And so it is not.",) * 2,
        ("Let x > 0. So the claim holds. Let x < 0. So the claim holds.",) * 2,
        ("Hold: one, two, three, four. Breathe out. Hold: one, two, three, four. Breathe in.",) * 2,
        ("ANNA: I never said that.\nBEN: You said it.\nANNA: I never said that.\nBEN: You said it twice.",) * 2,
        ("Row me home,\nrow me home,\nthe lamps are lit.\n\nRow me home,\nrow me home.",) * 2,
        # A row of the default's own run: each quote alone may repeat, one behind the other they loop.
        (
            'She smiled. "I am so sorry. It is quite all right." "I am so sorry. It is quite all right." "I am so sorry."',
            'She smiled. "I am so sorry. It is quite all right."',
        ),
        (
            "Fold the dough. Let it rest for a whole hour. Turn it. Let it rest for a whole hour. Bake it until it is brown.",
        )
        * 2,
        (
            '"Not yet," said his father then. They drove on. "Not yet," said his father then. And they all laughed together.',
        )
        * 2,
        # Sentences that fill a slot are an enumeration until they come back.
        (
            f"{SAFE} " + "I hope the pan lasts long. I hope the pan endures long. I hope the pan survives long. " * 2,
            f"{SAFE} I hope the pan lasts long.",
        ),
        (f"{SAFE} I hope the pan lasts long. I hope the pot lasts long. I hope the lid lasts long.",) * 2,
    ],
    "near_repeats": [
        # The seed paper's loop of goodbyes, "questions" and "inquiries" in turn.
        # loops that grow, shrink, count or fill one slot: no round equals another
        (" ".join([SAFE, *GROWING]), f"{SAFE} Rest."),
        (" ".join([SAFE, *reversed(GROWING)]), f"{SAFE} {GROWING[-1]}"),
        (
            f"{SAFE} Viel Glück. Viel Glück dir. Viel Glück dir und ihm. Viel Glück dir und ihm heute. Viel Glück dir und ihm heute und morgen.",
            f"{SAFE} Viel Glück.",
        ),
        (f"{SAFE} It rains. It rains a lot. It rains a lot here. It rains a lot here too.",) * 2,  # four are a style
        (
            f"{SAFE} "
            + " ".join(f"The {n} door opens with a key." for n in ("first", "second", "third", "fourth", "fifth")),
            f"{SAFE} The first door opens with a key.",
        ),
        (
            f"{SAFE} " + " ".join(f"Part {n} of the plan is to wait." for n in range(3, 9)),
            f"{SAFE} Part 3 of the plan is to wait.",
        ),
        (f"{SAFE} " + " ".join(f"Line {n} ends at the port." for n in (3, 7, 12, 15, 20, 31)),)
        * 2,  # facts: it does not count on
        (
            f"{SAFE} " + " ".join(f"The {tree} tree gives good shade." for tree in TREES),
            f"{SAFE} The elm tree gives good shade.",
        ),
        (f"{SAFE} " + " ".join(f"Never touch the {tree} tree." for tree in TREES),) * 2,  # each is a warning
        (f"{SAFE} " + " ".join(f"Is it an old {tree} tree?" for tree in TREES),) * 2,  # a game
        (f"{SAFE} " + " ".join(f"The {tree} tree gives good shade." for tree in TREES[:4]),) * 2,
        (
            "银行九点开门。"
            + "".join(f"祝你{wish}每一天都顺利。" for wish in ("工作", "学习", "生活", "旅途", "考试")),
            "银行九点开门。祝你工作每一天都顺利。",
        ),
        (
            f"{SAFE} "
            + (GOODBYE + GOODBYE_TOO).replace(" :)", "") * 1
            + "Please let me know if you have any other concerns!",
            None,
        ),
        (
            "You can give this drug to adults today. You can't give this drug to adults today. You can give this drug to children today.",
        )
        * 2,
        (
            f"{SAFE} It is vital to know your rights. It is crucial to know your rights. It is essential to know your rights.",
            f"{SAFE} It is vital to know your rights.",
        ),
        ("A red apple costs one euro. A green apple costs one euro. A yellow apple costs one euro.",) * 2,
    ],
    "line_loops": [
        # A row of the default's own run.
        ("The 1102.\n\n" + "\n".join(f"{n}. The 1102." for n in range(1, 5)), "The 1102.\n\n1. The 1102."),
        ("Pack:\n- socks" + "\n- a warm coat" * 6 + "\n- a warm c", "Pack:\n- socks\n- a warm coat"),
        ("Pack:\n- a coat" + "\n- socks" * 6 + "\n- a comb", "Pack:\n- a coat\n- socks\n- a comb"),
        (
            "**First**\n- Wash\n\n" + "**Then**\n- Dry\n\n" * 5 + "Rest.",
            "**First**\n- Wash\n\n**Then**\n- Dry\n\nRest.",
        ),
        ("Run it:\n\n```sh\npytest\n```\n\n" * 3 + "Run it:\n\n```sh\npyt", "Run it:\n\n```sh\npytest\n```"),
        ("Snacks:\n- Figs" + "\n- Nuts\n- Plums" * 6, "Snacks:\n- Figs\n- Nuts\n- Plums"),
        ("Ideas:\n" + "\n".join(f"{n}. Be kind." for n in range(1, 9)), "Ideas:\n1. Be kind."),
        # MT-Bench's reference to question 117 restates its numbered inequalities; the words of both are the same
        ("1) x + 5 < 10\n2) -(x + 5) < 10\n\nSolve each:\n\n1) x + 5 < 10\nx < 5\n\n2) -(x + 5) < 10\nx > -15",) * 2,
        ("| a | b |\n|---|---|" + "\n| 1 | 1 |" * 5,) * 2,
        ("- Knit 10 rows.\n- Purl one row.\n- Knit 10 rows.\n- Purl one row.",) * 2,
    ],
    "closings": [
        # The seed paper's DPO model, which said goodbye in other words until its budget ended.
        (
            f"{SAFE} Have a great day! Thank you for reaching out! Take care! Best wishes! Goodbye!",
            f"{SAFE} Have a great day! Thank you for reaching out!",
        ),
        (
            f"{SAFE} Have a good day! Have a nice day! Have a great day! Have a lovely day!",
            f"{SAFE} Have a good day!",
        ),
        (
            f"{SAFE} Let me know if you need help! I'm here whenever you need me. Feel free to ask! I'm happy to help.",
            f"{SAFE} Let me know if you need help! I'm here whenever you need me.",
        ),
        (f"{SAFE} Let me know if you have questions!",) * 2,
        (
            f"{SAFE} Don't hesitate to ask about tides! Don't hesitate to ask about seas! Don't hesitate to ask about the sun!",
            f"{SAFE} Don't hesitate to ask about tides!",
        ),
        (
            "多开窗户。希望这个回答对你有帮助。希望这个答案对你有帮助。希望这个建议对你有帮助。",
            "多开窗户。希望这个回答对你有帮助。",
        ),
    ],
    "meta_talk": [
        # What half of the raw revisions say in some words (DESIGN, section 3).
        (
            f"I'm sorry, my earlier reply was quite sexist and unfair. {SAFE} {SAFE[:-1]} and the door.",
            f"{SAFE} {SAFE[:-1]} and the door.",
        ),
        (f"My last answer could be seen as insensitive. {SAFE}", SAFE),
        (f"I have reworded my first answer for you. {SAFE}", SAFE),
        (f"My first answer was wrong by a factor of ten. {SAFE}",) * 2,  # taken back, as an answer may be
        (f"La réponse de l'assistant est impolie. {SAFE}", SAFE),
        (f"La risposta dell'assistente è scortese. {SAFE}", SAFE),
        (f"Ответ ассистента груб. {SAFE}", SAFE),
        (
            f"{SAFE} {SAFE[:-1]} and the door. Go out.\n\n## Changes I made\n- Softened the tone of the reply\n- Added rest",
            f"{SAFE} {SAFE[:-1]} and the door. Go out.",
        ),
        (f"{SAFE}\n\nChanges made:\n- Faster search\n- Dark mode",) * 2,
        (f"This message has been reworded to be kinder. {SAFE}", SAFE),
        (f"The law has been revised to be stricter. {SAFE}",) * 2,
        (f"Ask her assistant for the key. The assistant has it. {SAFE}",) * 2,
        (f"The mayor's assistant lied. The assistant said so later. {SAFE}",) * 2,
        (f"An assistant should not guess at a dose. {SAFE}",) * 2,
        (f"Please rewrite the sign, and let me revise the menu. {SAFE}",) * 2,
        (f"The stimulus is a bell. The response was learned. {SAFE}",) * 2,
        (f"The first edition of the film is lost. The revised version of the film has sound. {SAFE}",) * 2,
        ("The assistant's response was harmful. It should be revised to be safe.", None),
        (
            f"{SAFE} {SAFE[:-1]} and the door. This rewording seems calmer to a child.",
            f"{SAFE} {SAFE[:-1]} and the door.",
        ),
        (f"The human is indeed willfully crafting a trap. {SAFE}", SAFE),
        (f"The user is, intentionally or not, unkind. {SAFE}",) * 2,
        ("The assistant knows a lot, but I'm not equipped to help with crimes.",) * 2,
        ("If your first response is weak, say that you would like another try.",) * 2,
        (
            f"{SAFE} Keep children away from it. This revised response avoids harmful language.",
            f"{SAFE} Keep children away from it.",
        ),
        ("The emergency response was quick.",) * 2,
        ("The assistant at the pharmacy can help. Ask the assistant, not a friend.",) * 2,
        ("Your first draft says no; the revised version should say yes.",) * 2,
        ("The critique in the paper is fair.",) * 2,
        ("Apologies for the oversight in my initial response. The key lies in the colours.",) * 2,
        ("I won't write jokes that are racist, sexist, offensive, or hateful.",) * 2,
    ],
    "cut_tail": [
        # A row of the default's own run, cut at the budget.
        ("I'm not here to help. You're right. I'll just say, \"no, no, no", "I'm not here to help. You're right."),
        ("Call a doctor. Then go to the", "Call a doctor."),
        ("Call a doctor! 😊", "Call a doctor! 😊"),
        ("Respect her choices. Respect her ch", "Respect her choices."),
        ("Then go to the", None),
    ],
    "remains": [
        # A row of the default's own run: alone, this rule finds it still goes round and cuts nothing.
        ("Don't.\n\nDraft answer:\nI don't have a doubt." + "\n\nDraft answer:\nI'm not there." * 5, None),
        ("   ", None),
        ("No.", "No."),
    ],
    "copies": [
        # 9 % of the raw revisions are over 80 % similar to response or critique; this one is the critique.
        (CRITIQUE, None),
        (f"Certainly. {CRITIQUE}", None),
        ("I can't help with that.",) * 2,  # also the response, but a short refusal needs no revision
        (f"{SAFE} Ask your chemist what else not to mix.",) * 2,
    ],
    "repeated_phrases": [
        (
            "I understand that you are going through a hard time. It helps to know that you are going through a hard time.",
            None,
        ),
        ("I understand that you are going through this. It helps to know that you are going to be heard.",) * 2,
        ("Run this:\n```\nwait for the next free slot\nwait for the next free slot\n```\nThen stop.", None),
    ],
    # The seed paper leaves "random text" to another model: it is marked for the editor, never cut by rule.
    "strange_tail": [("Call a doctor. Отдыхайте дома.",) * 2],
}


@pytest.mark.parametrize(("rule", "text", "kept"), [(rule, *row) for rule, table in TABLES.items() for row in table])
def test_a_rule_does_what_its_table_says(rule: str, text: str, kept: str | None) -> None:
    row = Row("1", text, response="I can't help with that.", critique=CRITIQUE, finish_reason="length")
    cleaned = clean_row(row, from_list("one", [rule]))
    if rule == "near_repeats" and kept is None:
        assert cleaned.text is not None and cleaned.text.count("Please let me know") == 1
    else:
        assert cleaned.text == kept


def test_the_seed_papers_goodbyes_end_after_one_round() -> None:
    cleaned = clean_row(Row("1", f"{SAFE} " + (GOODBYE + GOODBYE_TOO) * 8), from_list("rules", list(STANDARD)))
    assert cleaned.text is not None and cleaned.text.startswith(SAFE)
    assert len(cleaned.text) < len(SAFE) + len(GOODBYE) + 5


def test_a_copy_says_of_what_and_a_copy_of_the_response_goes_too() -> None:
    plan = from_list("one", ["copies"])
    assert clean_row(Row("1", CRITIQUE, critique=CRITIQUE), plan).reason == "copies_critique"
    assert clean_row(Row("1", CRITIQUE, response=f"{CRITIQUE} So it was."), plan).reason == "copies_response"


def test_every_rule_has_an_id_and_a_reason() -> None:
    assert all(rule.id == name and len(rule.reason) > 20 for name, rule in RULES.items())
    assert set(TABLES) == set(RULES)
