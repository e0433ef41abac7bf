# Lists of words read better as text; a Hangul syllable counts as two columns.
# ruff: noqa: SIM905, E501
"""The vocabulary of the generated corpus: English words with one Korean word each.

Nouns are written `english=korean:counter`, with `singular/plural` where English is irregular and
`!` before nouns whose person is spoken of with respect.
"""

from dataclasses import dataclass

from train.sources.hangul import Predicate


@dataclass(frozen=True)
class Noun:
    """A noun, its Korean and the word that counts it."""

    singular: str
    plural: str
    korean: str
    counter: str
    kind: str
    respected: bool = False


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _nouns(kind: str, counter: str, entries: str) -> tuple[Noun, ...]:
    nouns = []
    for entry in entries.replace("\n", " ").split(","):
        english, korean = entry.strip().split("=")
        korean, _, own_counter = korean.partition(":")
        singular, _, plural = english.lstrip("!").partition("/")
        nouns.append(
            Noun(
                singular,
                plural or _plural(singular),
                korean,
                own_counter or counter,
                kind,
                english.startswith("!"),
            )
        )
    return tuple(nouns)


PEOPLE = _nouns(
    "person",
    "명",
    """student=학생, man/men=남자, woman/women=여자, child/children=아이, boy=소년, girl=소녀,
    doctor=의사, nurse=간호사, singer=가수, actor=배우, writer=작가, artist=화가, farmer=농부,
    soldier=군인, lawyer=변호사, engineer=기술자, reporter=기자, cook=요리사, driver=운전사,
    scientist=과학자, musician=음악가, dancer=무용수, neighbor=이웃, guest=손님, tourist=관광객,
    police officer=경찰관, firefighter=소방관, baker=제빵사, !teacher=선생님, !professor=교수님""",
)
RELATIVES = _nouns(
    "person",
    "명",
    """!mother=어머니, !father=아버지, !grandmother=할머니, !grandfather=할아버지, !aunt=이모,
    !uncle=삼촌, friend=친구, son=아들, daughter=딸, cousin=사촌, younger brother=남동생,
    younger sister=여동생, classmate=반 친구, roommate=룸메이트""",
)
# "my mother" is our mother in Korean.
OWNED_TOGETHER = frozenset("mother father grandmother grandfather aunt uncle".split())
ANIMALS = _nouns(
    "animal",
    "마리",
    """dog=개, cat=고양이, bird=새, rabbit=토끼, horse=말, cow=소, pig=돼지, chicken=닭, duck=오리,
    tiger=호랑이, lion=사자, bear=곰, monkey=원숭이, elephant=코끼리, fox/foxes=여우, wolf/wolves=늑대,
    mouse/mice=쥐, turtle=거북이, frog=개구리, puppy=강아지, squirrel=다람쥐, goat=염소""",
)
FRUITS = _nouns(
    "food",
    "개",
    """apple=사과, orange=오렌지, banana=바나나, peach=복숭아, tomato/tomatoes=토마토,
    potato/potatoes=감자, carrot=당근, egg=달걀, sandwich=샌드위치, cookie=과자, strawberry=딸기,
    lemon=레몬, onion=양파, melon=멜론, hamburger=햄버거, tangerine=귤""",
)
DISHES = _nouns(
    "dish",
    "그릇",
    """rice=밥, bread=빵, meat=고기, soup=국, kimchi=김치, bulgogi=불고기, cheese=치즈,
    chocolate=초콜릿, ice cream=아이스크림, ramen=라면, tofu=두부, cake=케이크, pizza=피자,
    salad=샐러드, bibimbap=비빔밥, spaghetti=스파게티""",
)
DRINKS = _nouns(
    "drink",
    "잔",
    "water=물, milk=우유, coffee=커피, tea=차, juice=주스, cola=콜라, beer=맥주, wine=와인",
)
READINGS = _nouns(
    "reading",
    "권",
    """book=책, magazine=잡지, textbook=교과서, comic book=만화책, dictionary=사전, newspaper=신문:부,
    report=보고서:부, letter=편지:통, email=이메일:통, poem=시:편, novel=소설:편, story=이야기:편""",
)
SHOWS = _nouns("show", "편", "movie=영화, drama=드라마, play=연극, documentary=다큐멘터리")
SONGS = _nouns("song", "곡", "song=노래, melody=멜로디")
THINGS = _nouns(
    "thing",
    "개",
    """bag=가방, chair=의자, table=탁자, desk=책상, clock=시계, umbrella=우산, ball=공, box=상자,
    key=열쇠, cup=컵, bowl=그릇, mirror=거울, doll=인형, toy=장난감, gift=선물, basket=바구니, ring=반지,
    wallet=지갑, eraser=지우개, blanket=이불, pillow=베개, hat=모자, scarf/scarves=목도리, pencil=연필:자루,
    pen=펜:자루, knife/knives=칼:자루, photo=사진:장, map=지도:장, ticket=표:장, stamp=우표:장,
    camera=카메라:대, radio=라디오:대, computer=컴퓨터:대, notebook=공책:권, flower=꽃:송이,
    rose=장미:송이, tree=나무:그루, lamp=등, spoon=숟가락, candle=양초:자루""",
)
CHAIRS = tuple(noun for noun in THINGS if noun.singular in ("chair", "table", "desk"))
INSTRUMENTS = _nouns("instrument", "대", "piano=피아노, guitar=기타, drum=드럼")
CLOTHES = _nouns(
    "clothes",
    "벌",
    "coat=코트, shirt=셔츠, dress=원피스, jacket=재킷, sweater=스웨터, skirt=치마, hanbok=한복",
)
HATS = _nouns("hat", "개", "hat=모자, mask=마스크, helmet=헬멧")
SHOES = _nouns("shoes", "켤레", "shoe=신발, boot=부츠, sock=양말, sneaker=운동화, slipper=슬리퍼")
VEHICLES = _nouns(
    "vehicle",
    "대",
    """car=자동차, bus=버스, train=기차, taxi/taxis=택시, bicycle=자전거, airplane=비행기, truck=트럭,
    motorcycle=오토바이, ship=배:척, boat=보트:척""",
)
OPENABLE = _nouns(
    "openable", "개", "door=문, window=창문, box=상자, bag=가방, drawer=서랍, gate=대문"
)
SUBJECTS_OF_STUDY = tuple(
    pair.split("=")
    for pair in """Korean=한국어 English=영어 French=프랑스어 Japanese=일본어 Chinese=중국어 math=수학
    history=역사 science=과학 music=음악 art=미술 cooking=요리 swimming=수영""".split()
)
SPORTS = tuple(
    pair.split("=") for pair in "soccer=축구 baseball=야구 basketball=농구 tennis=테니스".split()
)
# Preposition of being there, English, Korean.
PLACES = tuple(
    tuple(entry.strip().split(","))
    for entry in """at,school,학교; in,the library,도서관; in,the park,공원; at,home,집;
    at,the restaurant,식당; at,the cafe,카페; at,the hospital,병원; at,the office,사무실;
    at,the store,가게; at,the market,시장; in,the kitchen,부엌; in,the room,방; in,the classroom,교실;
    in,the garden,정원; at,the station,역; at,the airport,공항; at,the museum,박물관;
    at,the hotel,호텔; at,the beach,해변; in,the mountains,산; at,the bank,은행;
    at,the post office,우체국; in,the living room,거실; in,the village,마을; in,the city,도시;
    at,the theater,극장; in,the playground,운동장; at,the company,회사; at,the university,대학교;
    in,the forest,숲; at,the pool,수영장; at,the zoo,동물원; in,the countryside,시골;
    in,Seoul,서울; in,Busan,부산; in,Korea,한국; in,Jeju,제주도; in,America,미국; in,Japan,일본;
    in,Paris,파리; in,London,런던; in,China,중국""".split(";")
)
# Rooms and grounds that people clean or visit, as objects.
ROOMS = _nouns(
    "room",
    "개",
    "room=방, kitchen=부엌, classroom=교실, office=사무실, garden=정원, living room=거실",
)
BUILDINGS = _nouns(
    "building",
    "채",
    "house=집, museum=박물관:곳, hospital=병원:곳, school=학교:곳, bridge=다리:개, castle=성",
)
# Names with the pronoun that may stand for them.
NAMES = tuple(
    entry.split("=")
    for entry in """Minsu=민수=he Jisu=지수=she Minjun=민준=he Seoyeon=서연=she Jihun=지훈=he
    Yuna=유나=she Sumin=수민=she Junho=준호=he Eunji=은지=she Hyunwoo=현우=he Mina=미나=she
    Dohyun=도현=he Sora=소라=she Yejin=예진=she Tom=톰=he Anna=안나=she Peter=피터=he Mary=메리=she
    John=존=he Paul=폴=he Emma=에마=she David=데이비드=he Alice=앨리스=she Daniel=다니엘=he""".split()
)
# English -> (plural?, person, Korean, object form of English, possessive of both).
PRONOUNS = {
    "I": (False, 1, "저", "me", "my", "제"),
    "we": (True, 1, "우리", "us", "our", "우리"),
    "he": (False, 3, "그", "him", "his", "그의"),
    "she": (False, 3, "그녀", "her", "her", "그녀의"),
    "they": (True, 3, "그들", "them", "their", "그들의"),
}
NUMBERS = tuple(
    zip(
        "one two three four five six seven eight nine ten eleven twelve".split(),
        "한 두 세 네 다섯 여섯 일곱 여덟 아홉 열 열한 열두".split(),
        strict=True,
    )
)
# Place of a thing relative to another.
RELATIONS = (
    ("on", "위"),
    ("under", "아래"),
    ("behind", "뒤"),
    ("in front of", "앞"),
    ("next to", "옆"),
)
MEANS = tuple(
    pair.split("=")
    for pair in "bus=버스 train=기차 taxi=택시 bicycle=자전거 airplane=비행기 subway=지하철 car=자동차".split()
)

# Times by the tense that goes with them.
TIMES = {
    "past": """yesterday=어제|last night=어젯밤에|last week=지난주에|last year=작년에|
    this morning=오늘 아침에|yesterday morning=어제 아침에|last month=지난달에|last summer=지난여름에|
    yesterday afternoon=어제 오후에|two days ago=이틀 전에|last weekend=지난 주말에""",
    "present": """every day=매일|every morning=매일 아침|every week=매주|in the morning=아침에|
    in the evening=저녁에|at night=밤에|on weekends=주말에|every weekend=주말마다|in the afternoon=오후에|
    in spring=봄에|in summer=여름에|in autumn=가을에|in winter=겨울에|every year=매년""",
    "future": """tomorrow=내일|next week=다음 주에|next year=내년에|next month=다음 달에|
    tomorrow morning=내일 아침에|this evening=오늘 저녁에|this weekend=이번 주말에|
    tomorrow afternoon=내일 오후에|the day after tomorrow=모레""",
    "now": "now=지금|right now=바로 지금",
    "any": """on Monday=월요일에|on Tuesday=화요일에|on Wednesday=수요일에|on Thursday=목요일에|
    on Friday=금요일에|on Saturday=토요일에|on Sunday=일요일에|after lunch=점심 식사 후에|
    before dinner=저녁 식사 전에|after class=수업 후에""",
}


def _pair(entry: str) -> tuple[str, str]:
    english, korean = entry.strip().split("=")
    return english, korean


TIMES_OF: dict[str, tuple[tuple[str, str], ...]] = {
    tense: tuple(_pair(entry) for entry in text.replace("\n", " ").split("|"))
    for tense, text in TIMES.items()
}
FREQUENCIES: tuple[tuple[str, str], ...] = (
    ("always", "항상"),
    ("often", "자주"),
    ("sometimes", "가끔"),
    ("usually", "보통"),
)
DEGREES = (("very", "아주"), ("really", "정말"), ("too", "너무"), ("a little", "조금"))
MANNERS = {
    "q": (("quickly", "빨리"), ("slowly", "천천히")),
    "w": (("well", "잘"),),
    "h": (("hard", "열심히"),),
    "t": (("quietly", "조용히"),),
    "c": (("carefully", "조심스럽게"),),
    "a": (("alone", "혼자"),),
}


@dataclass(frozen=True)
class Verb:
    """An English verb and its Korean predicate."""

    base: str
    past: str
    korean: Predicate
    takes: str
    """What follows: kinds of objects joined by +, "" for nothing, "goal" for a place gone to."""
    manners: str
    """Keys of MANNERS that fit, and: p may name a place, i can be asked for, s a state (no
    progressive, no wish), n no short negation, j joined by a companion, r a recipient."""
    respectful: Predicate | None
    """The separate verb used of people respected: 드시다 of 먹다."""
    preposition: str

    @property
    def third(self) -> str:
        """Third person singular present."""
        if self.base == "have":
            return "has"
        if self.base.endswith(("s", "x", "ch", "sh", "o")):
            return self.base + "es"
        if self.base.endswith("y") and self.base[-2] not in "aeiou":
            return self.base[:-1] + "ies"
        return self.base + "s"

    @property
    def ing(self) -> str:
        """Present participle."""
        if self.base in DOUBLED:
            return self.base + self.base[-1] + "ing"
        if self.base.endswith("e") and not self.base.endswith("ee"):
            return self.base[:-1] + "ing"
        return self.base + "ing"


DOUBLED = frozenset("run swim sit shop hug cut".split())


def _past(base: str) -> str:
    if base == "hug":
        return "hugged"
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return base + "ed"


def _verbs(table: str) -> tuple[Verb, ...]:
    verbs = []
    for line in table.strip().splitlines():
        english, korean, takes, flags, *respectful = (part.strip() for part in line.split("|"))
        base, _, past = english.partition("/")
        base, _, preposition = base.partition(" ")
        stem, infinitive = (form.replace("_", " ") for form in korean.split())
        other = None
        if respectful:
            other = Predicate(respectful[0] + "시", respectful[0] + "셔", respectful[0] + "세요")
        verbs.append(
            Verb(
                base,
                past or _past(base),
                Predicate(stem, infinitive),
                takes,
                flags,
                other,
                preposition,
            )
        )
    return tuple(verbs)


# english/past | stem infinitive | takes | flags | respectful verb
VERBS = _verbs("""
sleep/slept | 자 자 | | pwa | 주무
run/ran | 달리 달려 | | pqj
walk | 걷 걸어 | | pqaj
swim/swam | 수영하 수영해 | | pnaj
sing/sang | 노래하 노래해 | | pntj
dance | 춤추 춤춰 | | pnaj
cry/cried | 울 울어 | | pta
laugh | 웃 웃어 | | p
work | 일하 일해 | | pnha
study | 공부하 공부해 | | pnhaj
rest | 쉬 쉬어 | | paj
exercise | 운동하 운동해 | | pnhaj
shop | 쇼핑하 쇼핑해 | | pnaj
travel | 여행하 여행해 | | pnaj
go/went | 가 가 | goal | jaq
come/came | 오 와 | goal | ji
return | 돌아가 돌아가 | goal | j
walk | 걸어가 걸어가 | goal | jq
run/ran | 뛰어가 뛰어가 | goal | jq
live | 살 살아 | home | j
arrive | 도착하 도착해 | arrival | n
eat/ate | 먹 먹어 | food+dish | pqja | 드
drink/drank | 마시 마셔 | drink | pqj | 드
read/read | 읽 읽어 | reading | pqtai
write/wrote | 쓰 써 | reading | pqcai
buy/bought | 사 사 | food+dish+drink+reading+thing+clothes+shoes | pja
sell/sold | 팔 팔아 | food+drink+reading+thing+clothes+shoes+vehicle | p
see/saw | 보 봐 | person+animal+show+tree | ps
watch | 보 봐 | show+sport | paj
meet/met | 만나 만나 | person+relative+name | pn
visit | 방문하 방문해 | building+relative | nj
like | 좋아하 좋아해 | food+dish+drink+animal+song+show+study+sport+name | ns
love | 사랑하 사랑해 | name+relative | ns
hate | 싫어하 싫어해 | food+dish+animal+study | ns
make/made | 만들 만들어 | dish+toy+food_dish | pqcj
open | 열 열어 | openable | qci
close | 닫 닫아 | openable | qti
clean | 청소하 청소해 | room | nqhiaj
wash | 씻 씻어 | food+bowl | qcip
wear/wore | 입 입어 | clothes | s
wear/wore | 쓰 써 | hat | s
wear/wore | 신 신어 | shoes | s
find/found | 찾 찾아 | thing+animal | p
lose/lost | 잃어버리 잃어버려 | thing | pn
borrow | 빌리 빌려 | reading+thing+vehicle | p
send/sent | 보내 보내 | mail+gift | ri
give/gave | 주 줘 | thing+reading+food+drink | r
show | 보여_주 보여_줘 | photo+reading+thing | rn
teach/taught | 가르치 가르쳐 | study | prwh
learn | 배우 배워 | study+sport | phj
know/knew | 알 알아 | name+song | s
remember | 기억하 기억해 | name+story | nsi
forget/forgot | 잊어버리 잊어버려 | name+story | ns
help | 돕 도와 | person+relative+name | pni
call | 부르 불러 | person+name | qi
invite | 초대하 초대해 | person+relative+name | n
wait for | 기다리 기다려 | person+relative+name+vehicle | pi
listen to | 듣 들어 | song+story | ptaj
draw/drew | 그리 그려 | animal+tree+building+vehicle | pqw
use | 사용하 사용해 | thing | pnci
ride/rode | 타 타 | vehicle+horse | j
drive/drove | 운전하 운전해 | drivable | pnwc
fix | 고치 고쳐 | drivable+machine+instrument | pwqi
choose/chose | 고르 골라 | reading+clothes+thing+shoes | pci
order | 주문하 주문해 | dish+drink | pnj
prepare | 준비하 준비해 | dish+gift | pnji
bring/brought | 가져오 가져와 | thing+reading+drink | i
throw/threw | 던지 던져 | ball | p
catch/caught | 잡 잡아 | animal+ball | pqj
plant | 심 심어 | tree+flower | pj
grow/grew | 키우 키워 | flower+tree+animal | p
push | 밀 밀어 | chair+drivable | q
build/built | 짓 지어 | building_house | qj
play | 치 쳐 | instrument | pwta
play | 하 해 | sport | nhpj
understand/understood | 이해하 이해해 | study+name+story | nsw
introduce | 소개하 소개해 | relative | nrp
hug | 안 안아 | relative+name+doll | q
paint | 칠하 칠해 | wall | nqc
carry | 나르 날라 | box | qci
practice | 연습하 연습해 | instrument+sport+song | pnhja
cook | 요리하 요리해 | meat | pnwja
finish | 끝내 끝내 | homework | qa
start | 시작하 시작해 | homework | nqa
take/took | 찍 찍어 | photo | pwc
sing/sang | 부르 불러 | song | pwj
""")


@dataclass(frozen=True)
class Adjective:
    """An English adjective, its Korean predicate and what it may describe."""

    english: str
    comparative: str
    korean: Predicate
    describes: tuple[str, ...]
    before_noun: str
    """Form before a noun."""


def _adjectives(table: str) -> tuple[Adjective, ...]:
    adjectives = []
    for line in table.strip().splitlines():
        english, korean, describes = (part.strip() for part in line.split("|"))
        word, _, comparative = english.partition("/")
        stem, infinitive = korean.split()
        predicate = Predicate(stem, infinitive, is_verb=stem.endswith("있"))
        before = predicate.adnominal
        adjectives.append(Adjective(word, comparative, predicate, tuple(describes.split()), before))
    return tuple(adjectives)


ADJECTIVES = _adjectives("""
big/bigger | 크 커 | thing animal room vehicle openable building instrument
small/smaller | 작 작아 | thing animal room vehicle openable building food
long | 길 길어 | reading show song
short | 짧 짧아 | reading show song
good/better | 좋 좋아 | reading show song vehicle clothes shoes instrument thing
beautiful/more beautiful | 아름답 아름다워 | building song clothes name_f
pretty/prettier | 예쁘 예뻐 | clothes thing shoes hat
cute/cuter | 귀엽 귀여워 | animal
kind/kinder | 친절하 친절해 | person
smart/smarter | 똑똑하 똑똑해 | person animal
busy/busier | 바쁘 바빠 | person
tired | 피곤하 피곤해 | person
hungry | 배고프 배고파 | person animal
happy/happier | 행복하 행복해 | person
sad/sadder | 슬프 슬퍼 | person song show
healthy/healthier | 건강하 건강해 | person animal
famous/more famous | 유명하 유명해 | person building song show
strong/stronger | 강하 강해 | person animal
young/younger | 젊 젊어 | adult
delicious | 맛있 맛있어 | food dish drink
spicy/spicier | 맵 매워 | spicy
sweet/sweeter | 달 달아 | sweet
expensive/more expensive | 비싸 비싸 | thing clothes vehicle shoes instrument hat
cheap/cheaper | 싸 싸 | thing clothes vehicle shoes hat
clean/cleaner | 깨끗하 깨끗해 | room clothes openable vehicle shoes
dirty/dirtier | 더럽 더러워 | room clothes openable vehicle shoes
quiet/quieter | 조용하 조용해 | room person
noisy/noisier | 시끄럽 시끄러워 | room vehicle
heavy/heavier | 무겁 무거워 | thing openable instrument
light/lighter | 가볍 가벼워 | thing clothes shoes
difficult/more difficult | 어렵 어려워 | reading study
easy/easier | 쉽 쉬워 | reading study
interesting/more interesting | 재미있 재미있어 | reading show study
boring/more boring | 지루하 지루해 | reading show
important/more important | 중요하 중요해 | reading study
red | 빨갛 빨개 | clothes vehicle hat shoes
blue | 파랗 파래 | clothes vehicle hat shoes
yellow | 노랗 노래 | clothes vehicle hat shoes
white | 하얗 하얘 | clothes vehicle animal hat shoes
black | 까맣 까매 | clothes vehicle animal hat shoes
wide/wider | 넓 넓어 | room
narrow/narrower | 좁 좁아 | room
fast/faster | 빠르 빨라 | vehicle animal
slow/slower | 느리 느려 | vehicle animal
bright/brighter | 밝 밝아 | room
dark/darker | 어둡 어두워 | room
lonely | 외롭 외로워 | person
fresh/fresher | 신선하 신선해 | food
honest/more honest | 정직하 정직해 | person
lazy/lazier | 게으르 게을러 | person
diligent/more diligent | 부지런하 부지런해 | person
cold | 차갑 차가워 | drink
hot | 뜨겁 뜨거워 | hot_drink soup
warm/warmer | 따뜻하 따뜻해 | clothes room
high/higher | 높 높아 | bridge
low/lower | 낮 낮아 | bridge
thick/thicker | 두껍 두꺼워 | reading_bound clothes
thin/thinner | 얇 얇아 | reading_bound clothes
""")
# Only before a noun.
ATTRIBUTES = (
    Adjective("new", "", Predicate("새롭", "새로워", is_verb=False),
              ("thing", "clothes", "vehicle", "shoes", "reading", "hat", "instrument"), "새"),
    Adjective("old", "", Predicate("오래되", "오래돼", is_verb=False),
              ("thing", "building", "vehicle", "instrument", "reading"), "오래된"),
)  # fmt: skip
WEATHER = tuple(
    (english, Predicate(stem, infinitive, is_verb=False))
    for english, stem, infinitive in (
        ("hot", "덥", "더워"),
        ("cold", "춥", "추워"),
        ("warm", "따뜻하", "따뜻해"),
        ("cool", "시원하", "시원해"),
        ("good", "좋", "좋아"),
        ("bad", "나쁘", "나빠"),
        ("cloudy", "흐리", "흐려"),
        ("clear", "맑", "맑아"),
    )
)
