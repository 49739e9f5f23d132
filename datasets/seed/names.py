"""Names of invented people: common given and family names of sixteen regions, each person's from one of them."""

import unicodedata
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Region:
    name: str
    female: tuple[str, ...]
    male: tuple[str, ...]
    family: tuple[str, ...]


def _region(name: str, *, female: str, male: str, family: str) -> Region:
    """A region from comma-separated lists, which a reader can check at a glance."""
    lists = (tuple(" ".join(each.split()) for each in text.split(",")) for text in (female, male, family))
    return Region(name, *lists)


REGIONS = (
    _region(
        "West Africa",
        female="""Adaeze, Amara, Ama, Abena, Aïssatou, Bisi, Chiamaka, Efua, Fatou, Folake, Halima, Ifeoma, Kehinde,
            Mariama, Ngozi, Nneka, Oluchi, Rokia, Temitope, Yewande, Zainab, Akosua, Esi, Binta""",
        male="""Ade, Babatunde, Chidi, Chinedu, Emeka, Femi, Ibrahim, Ikenna, Kofi, Kojo, Kwame, Kwabena, Mamadou,
            Moussa, Obinna, Olumide, Ousmane, Sekou, Segun, Tunde, Uche, Yaw, Cheikh, Modou""",
        family="""Okafor, Adeyemi, Mensah, Diallo, Traoré, Okonkwo, Balogun, Owusu, Boateng, Diop, Ndiaye, Koné, Eze,
            Nwosu, Asante, Bah, Camara, Keita, Sow, Afolabi, Adebayo, Osei, Appiah, Toure, Sanogo, Obi, Ba, Ogunleye,
            Danso, Cissé""",
    ),
    _region(
        "East Africa",
        female="""Achieng, Wanjiru, Aisha, Amina, Zawadi, Makena, Njeri, Wambui, Hawa, Selam, Hiwot, Tigist, Almaz,
            Neema, Rehema, Faith, Mercy, Grace, Nyambura, Akinyi, Uwase, Mutoni, Fadumo, Saba""",
        male="""Kamau, Otieno, Juma, Mwangi, Kiprop, Abdi, Baraka, Dawit, Tesfaye, Yonas, Bekele, Hassan, Omondi,
            Kipchoge, Njoroge, Salim, Emmanuel, Patrick, Getachew, Mugisha, Okello, Musa, Solomon, Daudi""",
        family="""Kimani, Odhiambo, Wekesa, Mwangi, Ochieng, Kariuki, Mutua, Kiplagat, Abebe, Haile, Tadesse, Bekele,
            Mohamed, Warsame, Mugabo, Habimana, Nakamya, Ssempala, Mwakyusa, Mushi, Kiptoo, Njuguna, Wanyama, Girma,
            Tesfaye, Ali, Uwimana, Kagame, Chepkoech, Onyango""",
    ),
    _region(
        "Southern Africa",
        female="""Thandiwe, Nomsa, Lerato, Naledi, Zanele, Palesa, Chipo, Rudo, Tendai, Ayanda, Nandi, Sibongile,
            Annelise, Marike, Refilwe, Precious, Tsitsi, Busisiwe, Kagiso, Mpho, Lindiwe, Karabo""",
        male="""Sipho, Thabo, Bongani, Tshepo, Lwazi, Mandla, Tatenda, Farai, Pieter, Johan, Kabelo, Sizwe, Themba,
            Vusi, Lungelo, Kudzai, Simba, Neo, Katlego, Hendrik, Tumelo, Andile""",
        family="""Nkosi, Dlamini, Ndlovu, Moyo, Mokoena, van der Merwe, Botha, Khumalo, Sithole, Zulu, Mthembu,
            Naidoo, Banda, Phiri, Molefe, Tembo, Chirwa, Ncube, Pretorius, Mahlangu, Maseko, Radebe, Zwane, Mabaso,
            Shabalala, Govender, Mutasa, Chikwanha""",
    ),
    _region(
        "North Africa",
        female="""Yasmine, Salma, Nour, Meriem, Amel, Khadija, Hajar, Imane, Rania, Mona, Dina, Heba, Asma, Samira,
            Soraya, Ines, Malika, Farah, Houda, Sanaa, Loubna, Marwa, Zineb, Nesrine""",
        male="""Ahmed, Mohamed, Youssef, Karim, Mehdi, Tarek, Amine, Omar, Khaled, Sofiane, Rachid, Mustafa, Hicham,
            Walid, Nabil, Anis, Bilal, Adel, Sami, Ayoub, Ismail, Hamza, Reda, Zakaria""",
        family="""El Amrani, Benali, Mansour, Hassan, Bouzid, Haddad, Trabelsi, Ben Salah, Chaoui, Belkacem, Fahmy,
            El Sayed, Naguib, Ibrahim, Bensaïd, Cherif, Alaoui, Saidi, Rahmani, Gharbi, Zidane, Abdelrahman, Khalil,
            Mahfouz, Tazi, Brahimi, Jaziri, Osman""",
    ),
    _region(
        "Middle East",
        female="""Layla, Noor, Maryam, Shirin, Leila, Rana, Hala, Yara, Dalia, Nasrin, Parisa, Elif, Zeynep, Ayşe,
            Fatma, Emine, Noa, Tamar, Shira, Reem, Huda, Lina, Mahsa, Zahra, Selin, Aylin""",
        male="""Ali, Omid, Reza, Hamid, Faisal, Saeed, Majid, Ziad, Rami, Fadi, Mehmet, Mustafa, Emre, Can, Burak,
            Noam, Eitan, Yosef, Hassan, Hussein, Farid, Arash, Behnam, Khalid, Tariq, Kerem""",
        family="""Haddad, Khoury, Al-Masri, Hosseini, Ahmadi, Karimi, Yılmaz, Kaya, Demir, Şahin, Çelik, Öztürk,
            Cohen, Levi, Mizrahi, Nasser, Al-Harbi, Al-Rashid, Saleh, Darwish, Hamdan, Farahani, Mousavi, Rezaei,
            Arslan, Aydın, Peretz, Najjar, Tabet, Barakat""",
    ),
    _region(
        "Pakistan and Afghanistan",
        female="""Ayesha, Fatima, Sana, Hina, Zara, Maria, Nadia, Rabia, Saima, Bushra, Mahnoor, Iqra, Amna,
            Palwasha, Gulalai, Samina, Uzma, Khadija, Anum, Mehreen, Sadia, Laiba""",
        male="""Ali, Usman, Bilal, Hamza, Imran, Asad, Faisal, Junaid, Kamran, Zubair, Salman, Adnan, Waqas, Shahid,
            Tariq, Farhan, Rashid, Najib, Wahid, Naveed, Omer, Saad""",
        family="""Raza, Khan, Malik, Hussain, Qureshi, Chaudhry, Butt, Sheikh, Siddiqui, Mirza, Iqbal, Javed, Akhtar,
            Bhatti, Rehman, Aziz, Shah, Ansari, Durrani, Yousafzai, Baloch, Mehmood, Nawaz, Farooq, Popal, Noorzai""",
    ),
    _region(
        "India",
        female="""Ananya, Priya, Kavya, Meera, Lakshmi, Divya, Sneha, Pooja, Anjali, Radha, Nandini, Shreya, Aarti,
            Deepa, Gayatri, Ishita, Sunita, Rekha, Harpreet, Simran, Aditi, Neha, Padma, Swati, Usha, Vidya""",
        male="""Arjun, Rahul, Vikram, Rohan, Suresh, Ramesh, Anil, Karthik, Sanjay, Amit, Vijay, Nikhil, Aditya,
            Manoj, Rajesh, Harish, Gurpreet, Manpreet, Siddharth, Venkat, Deepak, Ashok, Kiran, Mohan, Pranav, Ravi""",
        family="""Sharma, Patel, Singh, Iyer, Reddy, Nair, Gupta, Kumar, Rao, Das, Banerjee, Mukherjee, Chatterjee,
            Mehta, Desai, Joshi, Kulkarni, Menon, Pillai, Verma, Agarwal, Bose, Ghosh, Kaur, Sethi, Chopra, Naik,
            Patil, Shetty, Krishnan, Subramaniam, Trivedi""",
    ),
    _region(
        "Bangladesh and Sri Lanka",
        female="""Nusrat, Farzana, Sharmin, Tahmina, Rumana, Shirin, Nasreen, Dilani, Chathurika, Nimali, Kumari,
            Ishara, Sanduni, Tasnim, Sabina, Anika, Moushumi, Thilini, Hashini, Rokeya""",
        male="""Rahim, Kamal, Shafiq, Arif, Tanvir, Mahbub, Rafiq, Nuwan, Kasun, Chaminda, Ruwan, Dinesh, Sanjeewa,
            Lahiru, Habib, Mizanur, Jamal, Sohel, Pradeep, Asanka""",
        family="""Rahman, Hossain, Islam, Ahmed, Chowdhury, Begum, Akter, Miah, Sarkar, Perera, Fernando, de Silva,
            Jayasinghe, Wickramasinghe, Bandara, Gunawardena, Dissanayake, Herath, Karim, Talukder, Biswas, Alam""",
    ),
    _region(
        "China and Taiwan",
        female="""Li Na, Xiaoyan, Mei, Yan, Fang, Jing, Xiuying, Hui, Ying, Lan, Ting, Qian, Yue, Wenjing, Shu-fen,
            Mei-ling, Ya-ting, Xue, Yuting, Lihua, Min, Dan""",
        male="""Wei, Jun, Jie, Lei, Qiang, Hao, Ming, Tao, Bo, Feng, Gang, Peng, Chao, Zhiwei, Chih-ming, Chun-hung,
            Guanyu, Yifan, Kai, Haoran, Zihan, Jian""",
        family="""Wang, Li, Zhang, Liu, Chen, Yang, Huang, Zhao, Wu, Zhou, Xu, Sun, Ma, Zhu, Hu, Guo, He, Lin, Gao,
            Luo, Zheng, Liang, Xie, Tang, Song, Deng, Han, Feng, Cao, Peng""",
    ),
    _region(
        "Japan and Korea",
        female="""Yuki, Sakura, Haruka, Aiko, Keiko, Naoko, Ayumi, Emi, Mio, Rina, Seo-yeon, Ji-woo, Min-ji, Soo-jin,
            Ha-eun, Eun-ji, Hye-jin, Yuna, Misaki, Chiyo, Ji-hye, Da-eun""",
        male="""Hiroshi, Takashi, Kenji, Haruto, Ren, Daiki, Satoshi, Kazuki, Yuto, Akira, Min-jun, Ji-hoon, Seo-jun,
            Hyun-woo, Sung-min, Dong-hyun, Jae-won, Shinji, Ryo, Tatsuya, Young-ho, Joon-ho""",
        family="""Sato, Suzuki, Takahashi, Tanaka, Watanabe, Ito, Yamamoto, Nakamura, Kobayashi, Kato, Yoshida,
            Yamada, Kim, Lee, Park, Choi, Jung, Kang, Cho, Yoon, Jang, Lim, Han, Shin, Inoue, Kimura, Hayashi, Mori""",
    ),
    _region(
        "South-East Asia",
        female="""Nguyệt, Linh, Hương, Thảo, Mai, Siti, Dewi, Putri, Ayu, Nurul, Maria, Angel, Althea, Jasmine,
            Somchai, Malee, Ratree, Kanya, Fitriani, Wulan, Liza, Rosario, Thị Lan, Aisyah""",
        male="""Minh, Tuấn, Hùng, Dũng, Quang, Budi, Agus, Rizky, Andi, Joko, Jose, Juan Carlo, Mark, Anan, Niran,
            Prasert, Hafiz, Azlan, Farid, Bayu, Ramon, Khánh, Wayan, Surasak""",
        family="""Nguyễn, Trần, Lê, Phạm, Hoàng, Vũ, Santoso, Wijaya, Susanto, Hidayat, Kusuma, Santos, Reyes, Cruz,
            Bautista, Garcia, Mendoza, Saetang, Srisai, Wongsa, Tan, Lim, Ismail, Abdullah, Rahman, Villanueva, Phan,
            Đặng, Setiawan, Chaiyasit""",
    ),
    _region(
        "Central and Eastern Europe",
        female="""Anna, Katarzyna, Agnieszka, Zofia, Olena, Oksana, Natalia, Irina, Elena, Svetlana, Jana, Petra,
            Lucie, Eszter, Katalin, Ioana, Andreea, Milena, Ivana, Jelena, Marta, Darya, Zsófia, Kristīne""",
        male="""Piotr, Tomasz, Krzysztof, Jakub, Andriy, Oleksandr, Dmitri, Sergei, Ivan, Pavel, Jan, Tomáš, Ondřej,
            László, Gábor, Andrei, Mihai, Nikola, Marko, Luka, Stefan, Jānis, Bartosz, Bohdan""",
        family="""Nowak, Kowalski, Wiśniewski, Zieliński, Shevchenko, Kovalenko, Bondarenko, Ivanov, Petrov, Novák,
            Svoboda, Dvořák, Horváth, Nagy, Szabó, Popescu, Ionescu, Dumitru, Jovanović, Petrović, Horvat, Kovačević,
            Todorov, Dimitrov, Bērziņš, Kravets, Melnyk, Tóth, Král, Wójcik""",
    ),
    _region(
        "Northern Europe",
        female="""Ingrid, Astrid, Freja, Maja, Elsa, Linnea, Signe, Sofie, Aino, Helmi, Kaisa, Saga, Karin, Birgit,
            Solveig, Guðrún, Tuva, Emma, Ida, Liv, Marit, Anneli, Annika, Sanna""",
        male="""Lars, Erik, Nils, Anders, Magnus, Olav, Henrik, Mikkel, Oskar, Axel, Juha, Mikko, Eero, Gustav, Sven,
            Bjørn, Håkon, Jens, Kristian, Rasmus, Einar, Tor, Antti, Matti""",
        family="""Solberg, Johansson, Andersson, Karlsson, Nilsson, Hansen, Larsen, Olsen, Jensen, Nielsen, Pedersen,
            Korhonen, Virtanen, Mäkinen, Nieminen, Lindqvist, Berg, Dahl, Haugen, Sørensen, Jónsdóttir, Lindgren,
            Holm, Ek, Bakken, Rasmussen, Heikkinen, Laine""",
    ),
    _region(
        "Western Europe",
        female="""Claire, Camille, Léa, Manon, Chloé, Anna, Lena, Hannah, Greta, Ursula, Sanne, Femke, Lotte,
            Charlotte, Emily, Olivia, Aoife, Siobhán, Megan, Rhiannon, Fiona, Heidi, Élodie, Katrin, Eleanor, Niamh""",
        male="""Julien, Antoine, Luc, Mathieu, Étienne, Lukas, Jonas, Felix, Jürgen, Matthias, Daan, Bram, Sander,
            Thomas, James, Oliver, Liam, Seán, Callum, Rhys, Ewan, Reto, Beat, Pascal, George, Cormac""",
        family="""Martin, Dubois, Lefèvre, Moreau, Laurent, Müller, Schmidt, Schneider, Fischer, Weber, Wagner, de
            Vries, van Dijk, Jansen, Bakker, Smith, Jones, Taylor, Williams, Murphy, O'Brien, Kelly, Campbell,
            Stewart, Evans, Keller, Meier, Brunner, Peeters, Dupont, Walsh, Groß""",
    ),
    _region(
        "Southern Europe",
        female="""Giulia, Francesca, Chiara, Sofia, Elena, Lucía, Carmen, Marta, Pilar, Inés, Beatriz, Joana, Maria,
            Ana, Eleni, Katerina, Dimitra, Despina, Paola, Núria, Aitana, Teresa, Rita, Arta""",
        male="""Marco, Luca, Alessandro, Matteo, Giovanni, Javier, Pablo, Álvaro, Diego, Jordi, João, Tiago, Rui,
            Miguel, Nikos, Giorgos, Dimitris, Kostas, Andrea, Stefano, Iker, Pedro, Besnik, Yannis""",
        family="""Rossi, Russo, Ferrari, Esposito, Bianchi, Romano, García, Fernández, González, Rodríguez, López,
            Martínez, Sánchez, Silva, Santos, Ferreira, Pereira, Oliveira, Costa, Papadopoulos, Georgiou, Nikolaidis,
            Vlachos, Puig, Serra, Conti, Greco, Hoxha, Ricci, Marques""",
    ),
    _region(
        "Latin America",
        female="""Valentina, Camila, Isabella, Gabriela, Daniela, Fernanda, Mariana, Juliana, Larissa, Beatriz,
            Luciana, Rosa, Guadalupe, Ximena, Paula, Antonella, Catalina, Yolanda, Marisol, Ana Luisa, Thaís, Renata,
            Killa, Alejandra""",
        male="""Santiago, Mateo, Sebastián, Alejandro, Carlos, Luis, Jorge, Ricardo, Thiago, Rafael, Bruno, Gustavo,
            Eduardo, Emiliano, Joaquín, Felipe, Andrés, Hernán, Raúl, Manuel, Caio, Inti, Martín, Óscar""",
        family="""Rivera, Hernández, Ramírez, Torres, Flores, Gómez, Díaz, Vargas, Castro, Morales, Rojas, Gutiérrez,
            Ortiz, Quispe, Mamani, da Silva, Souza, Almeida, Carvalho, Ribeiro, Lima, Barbosa, Mendoza, Cárdenas,
            Salazar, Aguilar, Herrera, Medina, Muñoz, Paredes""",
    ),
    _region(
        "North America and the Pacific",
        female="""Ashley, Jessica, Madison, Brianna, Keisha, Latoya, Emily, Abigail, Aroha, Moana, Leilani, Kiri,
            Mele, Harper, Jasmine, Destiny, Aiyana, Kayla, Chloe, Sadie, Tia, Hana, Sina, Marama""",
        male="""Tyler, Jordan, Ethan, Jamal, DeShawn, Marcus, Logan, Wiremu, Tane, Sione, Keoni, Kai, Jack, Cooper,
            Mason, Darnell, Dakota, Noah, Hunter, Rangi, Tevita, Caleb, Isaiah, Mikaere""",
        family="""Johnson, Brown, Davis, Miller, Wilson, Anderson, Thomas, Jackson, White, Harris, Washington,
            Robinson, Lewis, Walker, Young, Begay, Tsosie, Kahananui, Tamihana, Ngata, Faleolo, Tupou, Cooper,
            Mitchell, Bennett, Foster, Hayes, Fonoti, Reid, Parata""",
    ),
)

_PLAIN = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "ı": "i", "ð": "d", "Ð": "D"})


@cache
def mail_part(name: str) -> str:
    """A name as it stands in an e-mail address: "Nguyễn" becomes "nguyen", "O'Brien" "obrien"."""
    plain = unicodedata.normalize("NFKD", name.translate(_PLAIN))
    return "".join(letter for letter in plain.lower() if letter.isascii() and letter.isalpha())
