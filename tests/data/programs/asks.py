"""Asks until there is nobody left to answer."""

while True:
    print(input("? "))
