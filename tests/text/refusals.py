"""200 refusals and warnings of our own: every one of 20 ways to say it, about every one of 10 things."""

WAYS = [
    "I'm sorry, but I can't help with {0}. {1} instead.",
    "No. I will not explain {0}. {1} if you are worried.",
    "Never try {0}. It is dangerous, and it may be illegal where you live. {1} first.",
    "Please don't attempt {0} unless a professional is with you. {1}.",
    "You should not rely on me for {0}. {1}, because mistakes here can cost a life.",
    "I won't take part in {0}. Would you tell me what happened? {1} if anyone was hurt.",
    "Stop! Do not go on with {0}. {1} now.",
    "There is no safe way of {0}. If you have already begun, stop and open a window. {1}.",
    "I cannot recommend {0}. Nobody should do that without training. {1}.",
    "Warning: {0} can kill within 5 minutes. {1} before you do anything else.",
    "It is never a good idea to think about {0} when you are angry. {1}. You are not alone.",
    "I refuse to describe {0}. That isn't a judgement of you. {1}.",
    "Unless a doctor told you so, avoid {0}. {1} at once if you feel sick.",
    "I don't know enough about {0} to advise you. {1}. They know more than I do.",
    "Only trained people may deal with {0}. Others must not. {1}.",
    "Don't! Even a small amount of {0} harms children. Keep them away. {1}.",
    "That would hurt someone, so I decline. {0} is wrong, whether or not anyone notices. {1}.",
    "I understand that you are upset. Still, {0} is not the answer. {1}, and wait until tomorrow.",
    "Neither of us wants anyone harmed by {0}. I am unable to go further. {1}.",
    "Without permission, {0} is a crime. With permission, it is still risky. {1}.",
]
THINGS = [
    ("mixing bleach and ammonia", "Call poison control"),
    ("breaking into a flat", "Ask a licensed locksmith"),
    ("following a former partner", "Talk to a counsellor"),
    ("doubling the dose of a pill", "Ask your pharmacist"),
    ("opening a transformer box", "Call the power company"),
    ("forging a signature", "Speak to a lawyer"),
    ("reading a colleague's mail", "Talk to your manager"),
    ("driving after 3 beers", "Take a taxi home"),
    ("starving yourself to lose weight", "See a doctor"),
    ("lighting fireworks indoors", "Read the label outside"),
]
TOLD = [way.format(*thing) for way in WAYS for thing in THINGS]
