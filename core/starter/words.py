"""The words of the starter models: common English, and the phrases that the instruct starter strings together."""

from __future__ import annotations

_COMMON = """
able accept across act add afraid again age agree air alone along always angry animal answer apple april arm
around arrive art ask august aunt autumn awake away baby back bad bag bake ball band bank bath beach bean
bear beautiful bed bee begin behind believe bell best better big bike bird birthday bit black blue board
boat body bone book boring born boss bottle bottom bowl box boy branch bread break breakfast breathe bridge
bright bring brother brown build burn bus busy butter buy cake call calm camera camp candle car card care
carry cat catch chair chance change cheap cheese child children choose christmas church circle city class
clean clear climb clock close cloud coat code coffee cold colour come cook cool corner correct cost couch
cough count country couple courage cousin cover cow cream cry cup curious cut dad dance danger dark date
daughter day deal dear december deep desk dinner dirty doctor dog door doubt down draw dream dress drink
drive drop dry duck dust ear early earth east easy eat egg eight email empty end energy engine english enjoy
enough entry evening exam exercise eye face fact fail fall family far farm fast father favourite fear
february feed feel feet fight film final find fine finger finish fire first fish five fix flat flight floor
flower fly focus follow food foot forest forget forgive forward found four free fresh friday friend front
fruit full fun funny future game garden gate gentle gift girl give glad glass goal gold good grandmother
grandfather grass grateful great green grey grow guest guitar gym habit hair half hand happen happy hard hat
head headache health hear heart heat heavy help high hike hill history hold holiday home honest hope horse
hospital hot hotel hour house hungry hurt husband ice idea ill important inside interview invite island
january jacket job join journal journey joy july jump june keep key kid kind kiss kitchen knee knife know
lake lamp language large last late laugh lazy leaf learn leave left leg lesson letter library life light
like line lion list listen little live local lonely long look lose lost loud love luck lunch machine mail
make man map march market marry meal mean meat medicine meet meeting memory message metal middle milk mind
minute mirror miss mistake model monday money month moon morning mother mountain mouth move movie much mud
museum music name near neck need neighbour nervous never new news next nice night nine noise north nose note
november number nurse ocean october offer office old onion open orange order outside paint pain pair paper
parent park part party past path patient pay peace pen people pepper person phone photo piano picture piece
pig pink place plan plane plant plate play please poem police poor possible post potato pound practice
present pretty price problem project promise proud pull puppy push question quick quiet race radio rain read
ready real red relax remember rent rest restaurant return rice rich ride right ring river road rock roof
room rope round run sad safe salad salt sand sandwich saturday save say scared school science sea season
seat second secret seed sell send september seven shade share sharp sheep shelf ship shirt shoe shop short
shoulder show shower sick side silence silver simple sing sister sit six skin sky sleep slow small smell
smile smoke snow soap soft solve son song soon sore sorry sound soup south space speak spend spoon spring
square stairs stand star start station stay step stone stop storm story street strong student study stuff
sugar summer sun sunday sunrise sunset surprise sweet swim table talk tall taste tax tea teach teacher team
tell ten tennis test thank theatre thin thing think thirsty three thursday ticket time tired today together
tomato tomorrow tonight tooth top touch town toy train travel tree trip trouble true trust try tuesday turn
two uncle understand university use vegetable view village violin visit voice wait wake walk wall want warm
wash watch water way weak wear weather wedding wednesday week weekend well west wet wheel white wide wife
win wind window wine winter wish woman wonder wood word work world worry write wrong yard year yellow
yesterday young zero
"""
_FUNCTION = """
a about above after all also am an and any are as at be because been before being both but by can could did
do does doing done each even ever every few for from get go going got had has have having he her here hers
him his how i if in into is it its just let made many may me might more most my no not now of off often on
one only or other our out over own per quite rather really said same she should since so some still such
than that the their them then there these they this those through to too under until up upon us very was we
went were what when where which while who whole whose why will with within without would yes yet you your
"""
_SUFFIXES = """
s es ed d ing er ers est ly y ness ful less ment tion ies ied able n t st nd rd th
"""
COMMON = tuple(_COMMON.split())
FUNCTION = tuple(_FUNCTION.split())
SUFFIXES = tuple(_SUFFIXES.split())

# One row per slot; a slot's alternatives follow any alternative of the slot before it.
SENTENCES: tuple[tuple[str, ...], ...] = (
    (
        "Hello,|Hi,|Hi there,|Well,|Hello you,|Good day,",
        " this is| here is| here speaks| meet| you reach| say hi to",
        " only| merely| for now| so far| as yet| just",
        " a starter| a little starter| a tiny starter| a small starter",
        " model| machine| engine| voice",
        " of chance.| of random weights.| without training.| of random words.",
    ),
    (
        " Every| Some| A| Another| One| This",
        " quiet| bright| slow| gentle| golden| early",
        " river| morning| window| garden| lantern| letter",
        " keeps| carries| follows| remembers| gathers| greets",
        " its own| a second| a hidden| the last| the first| a borrowed",
        " song.| shadow.| name.| colour.| secret.| road.",
    ),
    (
        " Perhaps| Maybe| Somewhere| Tonight| Sometimes| Later",
        " the tall| the patient| the old| the kind| the young",
        " tree| baker| clock| sailor| painter| moon",
        " listens to| waits for| walks with| writes to| laughs with",
        " seven| a few| many| nine| some| three",
        " birds.| stones.| clouds.| friends.| stars.| boats.",
    ),
    (
        " When| After| Before| While| Because| If",
        " rain| snow| wind| light| music| bread",
        " arrives,| grows warm,| falls asleep,| opens the door,| slows down,| turns blue,",
        " people| children| neighbours| strangers| foxes| bees",
        " share| count| paint| borrow| fold| unfold",
        " apples.| stories.| maps.| candles.| questions.| blankets.",
    ),
    (
        " You| We| They| I| Both of us| All of us",
        " might| could| would| should| may| can",
        " carry| mend| follow| plant| visit| keep",
        " that| each| the same| a new| an open| our",
        " promise| path| kettle| feeling| island| page",
        " today.| at dawn.| by hand.| in spring.| for a while.| at home.",
    ),
    (
        " Nothing| Something| Anything| Everything| Whatever| Much",
        " here| there| inside| nearby| in between| outside",
        " is| seems| stays| becomes| feels| was",
        " softer| lighter| braver| calmer| rounder| older",
        " than| like| beside| near",
        " snowfall.| honey.| thunder.| wool.| paper.| tea.",
    ),
    (
        " So| And| Now| Still,| Then| But",
        " tell me:| say:| think:| let me ask:",
        " what| which day| who| which place| whose voice",
        " made you| lets you| helps you| bids you",
        " smile| rest| wonder| breathe| hope",
        " most?| lately?| this week?| today, too?",
    ),
)
LOOP_TO = 1
"""The sentence that may follow the last one; ending there is always the likeliest single token."""
