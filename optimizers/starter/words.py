"""The starter models' world in words: what training draws from, and what only the evaluation sees.

A group of activities is a line "base past, base past | object, object = object, ...": verbs that mean the same, and
their objects; objects joined by "=" mean the same too. Feelings are grouped by the mood they stand for.
"""

from __future__ import annotations

from dataclasses import dataclass

MOODS = ("joyful", "calm", "sad", "anxious", "angry", "tired")


@dataclass(frozen=True, slots=True)
class Verb:
    base: str
    past: str


@dataclass(frozen=True, slots=True)
class Group:
    """Verbs that mean the same, and the objects they are used with, each with the others that mean the same."""

    verbs: tuple[Verb, ...]
    objects: tuple[tuple[str, ...], ...]


def _groups(text: str) -> tuple[Group, ...]:
    groups = []
    for line in text.strip().splitlines():
        verbs, objects = line.split("|")
        pairs = (verb.split() for verb in verbs.split(","))
        named = (tuple(name.strip() for name in each.split("=")) for each in objects.split(","))
        groups.append(Group(tuple(Verb(base, past) for base, past in pairs), tuple(named)))
    return tuple(groups)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", ",").split(",") if part.strip())


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


ACTIVITIES = _groups("""
bake baked, make made | bread = a loaf, a cake, biscuits = cookies, a pie = a tart, rolls = buns, scones
cook cooked, prepare prepared | soup = broth, dinner = supper, rice, noodles = pasta, a stew, breakfast
fix fixed, repair repaired, mend mended | the bike = the bicycle, the roof, the fence, the radio, a chair, the tap
watch watched, see saw | a film = a movie, the match = the game, a play, the sunset, the parade
clean cleaned, tidy tidied | the kitchen, the garage, the cellar = the basement, my room, the windows, the oven
plant planted | tomatoes, a tree, tulips, beans, roses, herbs
play played | chess, cards, tennis, football = soccer, the piano, the guitar, a duet
read read | a novel = a book, poems = poetry, a letter, old diaries, the newspaper = the paper
paint painted | the wall, the door, a portrait, the boat, the gate
climb climbed | the hill = the slope, the tower, a mountain = a peak, the stairs
buy bought, get got | shoes, a coat = a jacket, a lamp, apples, a present = a gift, flour, a kettle
visit visited | the museum, the castle, the market, the zoo, the cathedral, an old friend, my grandmother
write wrote | a letter, a song, a report, a poem, postcards, a speech = a talk
learn learned, practise practised | French, the violin, a dance, a magic trick, some Latin
build built, make made | a shed, a kite, a shelf = a bookcase, a raft, a snowman, a table
wash washed | the car, the dishes = the plates, the dog, the curtains, my hair
find found, discover discovered | a ring, an old map, a wallet = a purse, mushrooms, a key, a kitten
lose lost, misplace misplaced | my keys, the tickets, my umbrella, a glove, my phone, my glasses
sell sold | the car, the piano, old books, my desk, eggs
sew sewed, stitch stitched | a dress, a curtain, a cushion = a pillow, a costume
knit knitted | a scarf, socks, a jumper = a sweater, a blanket
draw drew, sketch sketched | a map, the harbour, a cat, faces, the bridge
photograph photographed | birds, the bridge, the storm, flowers, the old town
pick picked, gather gathered | berries, apples, flowers, cherries, nettles, shells
feed fed | the ducks, the cat, the horses, the chickens = the hens, the goat
carry carried, haul hauled | boxes, wood = logs, the sofa = the couch, water, sand
ride rode | a horse = a pony, the ferry, an elephant, the tram
order ordered | pizza, tea, a taxi = a cab, new tyres, pancakes
pack packed | the suitcase = the bags, boxes, a picnic, my things
sing sang | carols, old songs, a lullaby, in the choir
plan planned, organise organised | a trip = a journey, a party, the wedding, a surprise, the meeting
move moved, shift shifted | the wardrobe, the furniture, the bed, the bookcase
cut cut, trim trimmed | the hedge, the grass = the lawn, my hair, the roses
finish finished, complete completed | the essay, the puzzle, the report, the quilt, my homework
start started, begin began | a diary, a new job, a course = a class, a garden
help helped | the neighbours, my brother, my sister, an old man, the teacher
pay paid | the rent, the bills, the plumber, a fine
hear heard | a concert, an owl, a lecture, strange noises
win won | a race, the quiz, a prize, the raffle
fail failed | the exam = the test, my driving test, the audition
miss missed | the bus, the train, the meeting, my flight
catch caught | a trout, a cold, the last train, a mouse
teach taught | a class, maths, swimming, the children
eat ate | ice cream, oysters, a whole melon, lunch, pancakes
drink drank | coffee, lemonade, hot chocolate, tea
dig dug | a pond, a hole, up potatoes, the garden
share shared | an umbrella, a sandwich, a room, secrets
test tested | the new engine, a tent, a recipe, the alarm
swim swam | in the lake, in the sea, ten lengths, to the island
walk walked | the dog, along the river, through the park, to the mill, home
run ran | a marathon, round the lake, five miles, up the hill
sit sat | by the fire, on the balcony, in the sun, under the oak
wait waited | for the bus, for hours, for the doctor, in the rain
go went | for a walk, for a long walk, swimming, shopping, for a run, dancing, out for dinner, to a concert
have had | lunch, a long talk, a picnic, an argument, a cup of tea, a day off, a good idea
take took | a nap, a hot bath, some pictures, a long break, the stairs
meet met | an old friend, my cousin, the new boss, the doctor, my neighbour
call called | my mother, my father, the bank, the school
work worked | late, on the report, in silence, all day, on my thesis
sleep slept | late, badly, for ten hours, under the stars
do did | the laundry, my homework, the taxes, yoga, the shopping
talk talked | about the future, about school, about money, for an hour
""")

HELD_OUT_ACTIVITIES = _groups("""
glaze glazed | a teapot, the tiles, a vase
carve carved | a spoon, a pumpkin, an owl
varnish varnished | the canoe, the banister, the violin case
polish polished | the trumpet, the silver, the telescope
weave wove | a basket, a hammock
prune pruned | the vines, the apricot tree
sharpen sharpened | the chisels, the skates
decorate decorated | the hall, the christmas tree, the float
harvest harvested | pumpkins, barley, the honey
juggle juggled | oranges, torches
fix fixed, repair repaired, mend mended | the kettle, the tractor, the accordion, the greenhouse
clean cleaned, tidy tidied | the attic, the aquarium, the stable
cook cooked, prepare prepared | lentils, goulash, risotto, dumplings
build built, make made | an igloo, a birdhouse, a sandcastle, a treehouse
find found, discover discovered | a fossil, a locket, a hedgehog
plan planned, organise organised | the reunion, a pilgrimage, the bazaar
draw drew, sketch sketched | the lighthouse, a dragon, a windmill
carry carried, haul hauled | the anchor, bricks, the mattress
pick picked, gather gathered | quinces, chestnuts, lavender
learn learned, practise practised | Welsh, the banjo, fencing, origami
""")

PLACES = _list("""
in the garden, in the kitchen, at the market, at the harbour, by the river, by the lake, in the park, at school,
at work, at home, on the beach, in the forest, at the station, at the library, in the old town, on the roof,
in the cellar, at the hospital, in the church, on the farm, at the pool, in the mountains, near the bridge,
behind the house, under the apple tree, at my mother's house, at the cafe, on the train, in the yard, by the sea,
at the theatre, in the village, at the bakery, in the office, at the gym, near the mill, on the balcony
""")
HELD_OUT_PLACES = _list("""
at the observatory, in the vineyard, at the quarry, in the courtyard, at the boathouse, by the canal,
in the orchard, at the airfield, on the jetty, near the lighthouse, in the pavilion, at the brewery,
in the meadow, by the waterfall, at the monastery, on the island
""")

DAYS = _list("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
MONTHS = _list("January, February, March, April, May, June, July, August, September, October, November, December")
TIMES = _list("""
in the morning, in the afternoon, in the evening, at noon, at night, yesterday, last night, before breakfast,
after lunch, after work, before dinner, at midnight, at dawn, last week, this morning, at the weekend, after school,
on my birthday, at seven, at half past nine, at six, at four
""")

FEELINGS = {
    "joyful": _list("happy, joyful, delighted, glad, cheerful, thrilled, elated, overjoyed, excited, proud, merry"),
    "calm": _list("calm, peaceful, relaxed, at ease, serene, quiet inside, settled, content, at peace, unhurried"),
    "sad": _list("sad, lonely, gloomy, down, heartbroken, miserable, low, tearful, unhappy, hopeless, homesick"),
    "anxious": _list("anxious, worried, nervous, uneasy, tense, afraid, on edge, scared, frightened, panicky"),
    "angry": _list("angry, furious, annoyed, irritated, cross, bitter, outraged, mad, fuming, resentful"),
    "tired": _list("tired, exhausted, worn out, drained, sleepy, weary, drowsy, spent, dead tired, run down"),
}

SIGNS = {
    "joyful": lines("""
        I could not stop smiling.
        I laughed until my belly hurt.
        I danced round the kitchen.
        My heart was light all day.
        It was the best day of the year.
        I keep grinning when I think of it.
        We cheered and hugged each other.
        I wanted to sing.
        What a wonderful surprise it was.
        I jumped for joy when I heard it.
        I have not been so happy for years.
        Everybody laughed and so did I.
        I am still smiling.
        It made my day.
    """),
    "calm": lines("""
        There was nothing I had to do.
        I breathed slowly and listened to the rain.
        Everything was still and soft.
        No hurry at all today.
        The quiet did me good.
        I sat by the window and let time pass.
        My mind was clear as water.
        I let my thoughts drift like clouds.
        A slow and gentle day.
        I felt no rush and no worry.
        The silence was like a warm blanket.
        I just sat and watched the water.
        It was a peaceful hour.
        My breath was slow and even.
    """),
    "sad": lines("""
        I cried in the bathroom.
        I miss her so much.
        The house is empty without him.
        Tears came when I heard the song.
        Nothing could cheer me up.
        I feel so alone.
        My heart is heavy.
        I wish it had not ended like this.
        I wept for an hour.
        It hurts that he is gone.
        I said goodbye and it broke my heart.
        I had no wish to see anybody.
        I miss the old days.
        Everything seems grey and empty.
    """),
    "anxious": lines("""
        My hands were shaking.
        I keep thinking of what could go wrong.
        My stomach was in knots.
        What if I fail?
        I could not sit still for fear.
        My heart was racing before it began.
        I am afraid of what the doctor will say.
        I checked the door five times.
        I lay awake with worry.
        I dread tomorrow.
        I bit my nails all day.
        I was so nervous that I could not eat.
        So many things could go wrong.
        I am scared of the results.
    """),
    "angry": lines("""
        I slammed the door.
        I wanted to shout at him.
        How dare she say that!
        It made my blood boil.
        He lied to me again.
        I am sick of being treated like this.
        I could have thrown something.
        It is so unfair.
        They broke their promise and I raged.
        I yelled at the driver.
        I clenched my fists.
        She had no right to do that.
        I hit the table with my fist.
        He blamed me for his own mistake.
    """),
    "tired": lines("""
        I could hardly keep my eyes open.
        I fell asleep on the sofa.
        I need to sleep for a week.
        My legs were like lead.
        I yawned all through the meeting.
        I did not sleep enough.
        I went to bed at eight.
        I have no strength left.
        I nodded off on the train.
        After the long shift I only wanted my bed.
        I dragged myself home.
        I have no energy for anything.
        My eyes kept closing.
        Three hours of sleep were not enough.
    """),
}
HELD_OUT_SIGNS = {
    "joyful": lines("""
        I was smiling the whole way home.
        I laughed and danced like a child.
        It was such a happy surprise.
        I could have sung for joy.
        The best news of the year!
    """),
    "calm": lines("""
        I listened to the rain and there was no hurry.
        A still and gentle evening.
        The quiet water did me good.
        I sat and breathed, slow and even.
        Nothing to do, nothing to rush.
    """),
    "sad": lines("""
        I cried when I heard the news.
        I miss him every day.
        My heart was so heavy that tears came.
        It hurts to be so alone.
        I wept when they said goodbye.
    """),
    "anxious": lines("""
        My heart was racing and my hands were shaking.
        What if everything goes wrong?
        I am so scared of tomorrow.
        I lay awake and dread was in my stomach.
        I worry about the results.
    """),
    "angry": lines("""
        She lied and I slammed the door.
        I wanted to yell at them.
        So unfair that my blood boiled.
        How dare he blame me!
        I shouted and hit the table.
    """),
    "tired": lines("""
        I could have slept on the train.
        My eyes were closing all day.
        I yawned and went to bed.
        There was no strength left in my legs.
        Not enough sleep, no energy.
    """),
}

FILLERS = lines("""
    The weather was grey.
    It rained for an hour.
    Nothing else happened.
    I slept well.
    The coffee was cold.
    There was a lot of traffic.
    I forgot my umbrella.
    The sky was clear.
    It took longer than I thought.
    The bus was late again.
    I had porridge for breakfast.
    It was windy.
    The neighbours were loud.
    My phone was flat.
    I must do the laundry.
    The light was beautiful.
    We had tea afterwards.
    It cost more than I wanted.
    The shop was closed.
    Tomorrow I want to get up early.
    The cat slept on my bed.
    I wrote it all down.
    It was a busy day.
    The news was on the radio.
    I took some photos.
""")

TOPICS = _list("""
the garden, the exam, his new job, her new flat, the wedding, the weather, money, the holidays, a film, the dog,
our parents, the old house, school, the election, a book, football, the baby, the trip, her brother, the accident
""")
HELD_OUT_TOPICS = _list("""
the harvest, his violin, the eclipse, beekeeping, the inheritance, her thesis, the regatta, falconry, the orchestra
""")

VEHICLES = _list("bus, train, car, bike, boat, ferry, taxi, tram, plane, ship")
GOALS = _list("""
to the market, to the coast, to the hospital, to the airport, to school, to the city, to the village, to the lake,
to work, to the concert, to my aunt's house, to the island, to the mountains, to the border
""")
HELD_OUT_GOALS = _list("""
to the observatory, to the regatta, to the monastery, to the quarry, to the vineyard, to the auction, to the harbour
""")

HELD_OUT_NAMES = _list("""
Mira, Tomas, Priya, Jonas, Fatima, Chidi, Ingrid, Mateo, Yuki, Oren, Leila, Dmitri, Nadia, Kofi, Astrid, Pablo,
Zainab, Henrik, Amara, Luca, Svetlana, Tariq, Freya, Hugo, Noor, Bjorn, Carmen, Dario, Elif, Gideon, Hana, Ivo,
Juniper, Kwame, Lorenzo, Marisol, Niamh, Otto, Petra, Quentin, Rosalind, Soren, Thandi, Ursula, Viktor, Wanda,
Xenia, Yusuf, Zelda, Abigail, Benedict, Clara, Desmond, Esther, Florian, Greta, Harriet, Isaac, Judith, Konrad
""")

ONSETS = _list("""
b, br, c, ch, cl, d, dr, f, fl, g, gr, h, j, k, l, m, n, p, qu, r, s, sh, st, t, th, tr, v, w, y, z
""")
VOWELS = _list("a, e, i, o, u, ai, ee, ia, ou, ie, oa, ea")
CODAS = _list("n, r, l, s, m, d, t, th, ck, x, nd, rt, lf, sk, ng, v, z, p, b, g")

COMMON = _words("""
able accept across act add agree air animal answer apple april arm arrive art atom august autumn back bag ball bank
basket battle beach bear bell bird board body bone book bottle bottom bowl box branch brain brick bridge business
butter button camera camp candle capital card castle century chain chance change cheese chemistry child circle city
climate clock cloud coast code coin colour comet computer continent cook copper corner cost cotton country court
culture current dance data deer desert design diet difference dinosaur distance dollar dragon dream driver earth
economy egg electron element emperor energy engine equation europe experiment factory family farm father fever field
film finger fire fish flag flower foot force forest formula france freedom frog fruit function future galaxy game
germany glacier glass gold government grammar gravity guitar hair hammer head heart height history horse hospital
hour human ice idea india industry insect internet invention iron island japan joke jungle keyboard king knife
knowledge language law leaf leader letter library light lion list logic london machine magnet map market mars
mathematics meaning medicine memory mercury metal milk minute mirror molecule money moon mountain music nation
nature network neuron newspaper novel number ocean oil opera orange orbit oxygen painter paper paris parliament
password pencil penguin philosophy phone physics piano picture planet plant plastic poem poet poetry police politics
population president price prime printer problem program protein python queen question radio rain recipe religion
republic river robot rock rocket rome sand satellite school science sculpture season sentence server shadow sheep
ship shirt silver skeleton sky snake society software soldier song sound spain speed spider spoon square star statue
steam stone storm story sugar summer sun table tax teacher telescope temperature theatre theorem theory tiger time
tower trade train translation triangle universe vaccine valley vegetable village virus volcano wall war water wave
weather web wheel whale wind window winter wire wolf wood word world writer zebra zero
""")
