"""Words for keys, so that two people can compare what two machines show.

`fingerprint_words` is for comparing: 64 bits of a deliberately slow hash, so making a key that
shows the same eight words takes an attacker about 2^74 steps. `memorable_name` is for telling
agents apart at a glance and proves nothing.
"""

from __future__ import annotations

from functools import lru_cache

from mcp_a2a.protocol.crypto import sha256, slow_hash
from mcp_a2a.protocol.did import PeerId

FINGERPRINT_WORDS = 8
_FINGERPRINT_LABEL = b"mcp-a2a/v1/words\0"
_NAME_LABEL = b"mcp-a2a/v1/name\0"

# 256 words to read out over a telephone: short, common, no two with only one letter between them.
WORDS = tuple(
    """
    acorn actor album alley amber anchor angle apple apron arch arrow atlas attic autumn award
    axis bacon badge bagel bamboo banana barrel basil basket bead beaver bell bench berry
    bicycle bishop blanket boat bonfire bottle branch brick bridge broom bucket buckle buffalo
    bundle burger butter cabin cactus camel candle canoe canyon carpet castle cedar cello chalk
    cherry chess chimney circle cliff cloud clover coconut comet compass copper coral cotton
    cousin cradle crayon cricket crown crystal cushion dagger daisy dancer desert diamond dinner
    dolphin donkey dragon drum dune eagle echo elbow emerald engine envelope fabric falcon
    farmer feather fiddle finger flag flute forest fossil fountain fox frost funnel galaxy
    garden garlic gate giraffe glacier glitter globe gorilla gravel guitar hammer harbor harvest
    hawk hazel helmet heron hockey honey horizon hotel iceberg igloo insect iris island ivory
    jacket jasmine jelly jigsaw jungle kayak kettle kitchen kite kiwi koala ladder lagoon
    lantern laser lemon leopard letter library lily lizard lobby lobster lotus lumber magnet
    mango maple marble market meadow medal mirror mitten moon morning mosaic motor muffin museum
    mustard napkin nectar needle nickel notebook nutmeg oasis ocean octopus olive onion opera
    orbit orchid otter oven oyster palace panda paper parade pasta pebble pelican pencil pepper
    piano pigeon pillow pirate planet plum pony poppy poster potato prism pumpkin puzzle pyramid
    quarry quilt rabbit radish raft rainbow raven ribbon river robin rocket rope sailor salmon
    sandal saturn scarf school shadow shovel silver slipper snail spider spoon squirrel summit
    sunset temple thunder tiger tomato trumpet turtle velvet violin walnut window winter zebra
    """.split()  # noqa: SIM905 - a list of words reads best as text
)

_ADJECTIVES = tuple(
    """
    agile amused ample ardent balmy bold brave bright brisk calm candid cheery civil clever
    cosmic cozy crisp curious daring deft eager early earnest easy exact fabled fair fancy fleet
    fluent fond frank fresh gentle glad golden grand handy happy hardy hearty honest humble
    ideal jolly joyful keen kind lively loyal lucky mellow merry mighty mild modest neat nimble
    noble patient placid polite proud quick
    """.split()  # noqa: SIM905 - a list of words reads best as text
)

_ANIMALS = tuple(
    """
    badger beaver bison bobcat camel caribou cheetah cobra condor cougar coyote crane dingo
    dolphin donkey eagle egret falcon ferret finch gazelle gecko gibbon gopher heron hippo ibex
    iguana jackal jaguar kestrel koala lemur leopard lynx magpie marmot marten meerkat mole
    moose newt ocelot osprey otter owl panda panther parrot pelican penguin puffin python quail
    rabbit raven seal stork swift tapir toucan turtle walrus wombat
    """.split()  # noqa: SIM905 - a list of words reads best as text
)


@lru_cache(maxsize=4096)
def fingerprint_words(peer: PeerId) -> str:
    """Eight words that stand for this key and, for all practical purposes, for no other."""
    digest = slow_hash(_FINGERPRINT_LABEL, peer.key, FINGERPRINT_WORDS)
    return "-".join(WORDS[byte] for byte in digest)


@lru_cache(maxsize=4096)
def memorable_name(peer: PeerId) -> str:
    """A name for an agent that has none. Many keys share one; it is a label, never an identity."""
    adjective, animal = sha256(_NAME_LABEL + peer.key)[:2]
    return f"{_ADJECTIVES[adjective % len(_ADJECTIVES)]}-{_ANIMALS[animal % len(_ANIMALS)]}"
