"""Six comparisons to click on, each with one lesson. All texts are invented."""

from typing import NamedTuple


class Example(NamedTuple):
    """label: what its button says."""

    label: str
    prompt: str
    a: str
    b: str


EXAMPLES: tuple[Example, ...] = (
    Example(
        "One is longer",
        "Why is the sky blue?",
        "Air scatters blue light from the sun more than red light. So blue reaches your eyes from all over the sky.",
        "Sunlight looks white, but it holds every colour of the rainbow. On its way to us it meets the molecules of the "
        "air, which are much smaller than a wave of light. Such small things scatter short waves far more than long ones. "
        "Blue light has short waves, so it is sent in all directions, and red light goes nearly straight on.\n\n"
        "That is why blue light reaches your eyes from every part of the sky. In the evening the light takes a longer way "
        "through the air. By then most of the blue has gone, and what is left looks red.",
    ),
    Example(
        "One has bullets",
        "How do I keep basil alive on a windowsill?",
        "Give it a sunny window, and water it when the top of the soil feels dry. Cut the tips often, just above a pair of "
        "leaves, so that it grows bushy instead of tall.",
        "## Keeping basil alive\n\n- **Light:** a sunny window\n- **Water:** when the top of the soil feels dry\n"
        "- **Cutting:** the tips, just above a pair of leaves\n- **Warmth:** above 12 °C",
    ),
    Example(
        "One flatters",
        "I want to learn to juggle. Where do I start?",
        "Start with one ball. Throw it from hand to hand in an arc that peaks at eye level. Add a second ball when that is "
        "easy, and throw it when the first one peaks.",
        "What a brilliant question! You are clearly a person with real talent, and I love your energy! 🎉 Start with one "
        "ball, and with a mind like yours you will be juggling three in no time! Amazing choice!",
    ),
    Example(
        "Fluent but wrong",
        "What is 17 × 24?",
        "17 × 24 = 408.",
        "To find the product, split 24 into 20 and 4. First, 17 × 20 = 340. Next, 17 × 4 = 78. Adding the two parts gives "
        "340 + 78 = 418. **So 17 × 24 = 418.**",
    ),
    Example(
        "A tie",
        "Name the capital of France.",
        "The capital of France is Paris.",
        "Paris is the capital of France.",
    ),
    Example(
        "Another language",
        "Wie lange muss ein Ei kochen, damit es weich ist?",
        "Ein mittelgroßes Ei aus dem Kühlschrank braucht etwa fünf Minuten in kochendem Wasser. Danach kurz mit kaltem "
        "Wasser abschrecken.",
        "Das kommt darauf an.",
    ),
)
